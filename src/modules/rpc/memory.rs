//! `shm.*` and `pkg.*`: the original's questions about its two kinds of memory, answered with what
//! takes their place. Nothing is shared between threads, so "shared" is what the process holds of
//! the machine's memory; and no thread has a pool of its own, so each shows nothing of one.

use crate::effect::rpc::Value;

use super::args::Args;
use super::command::{Answer, Command, Container, Run};
use super::core::memory;
use super::desk::Desk;

/// The commands.
pub const MEMORY: [Command; 4] = [
    Command::here(
        "shm.info",
        "Name of the allocator, and the memory of the machine.",
        |desk, _| {
            let size = (desk.look)().memory_size;
            Ok(vec![Value::members([
                ("name", Value::text("malloc")),
                ("size", Value::count(size)),
            ])])
        },
    ),
    Command::here(
        "shm.stats",
        "Memory in bytes: total is the machine's, used what the process holds.",
        |desk, _| Ok(vec![memory(&(desk.look)(), 0)]),
    ),
    Command::here(
        "pkg.info",
        "Name of the allocator; threads have no memory of their own.",
        |_, _| {
            Ok(vec![Value::members([
                ("name", Value::text("malloc")),
                ("size", Value::Int(0)),
            ])])
        },
    ),
    Command {
        name: "pkg.stats",
        help: "The threads; none of them has memory of its own, see core.shmmem.",
        params: "",
        container: Container::Array,
        run: Run::Here(pools),
    },
];

fn pools(desk: &mut Desk<'_>, _: &Args) -> Answer {
    let threads = (desk.look)().threads.into_iter().enumerate();
    let row = |(index, (id, name)): (usize, (u32, String))| {
        let index = Value::count(index as u64);
        let identity = [
            ("entry", index.clone()),
            ("pid", Value::Int(id.into())),
            ("rank", index),
        ];
        let sizes = ["used", "free", "real_used", "total_size", "total_frags"];
        let sizes = sizes.map(|name| (name, Value::Int(0)));
        let members = identity.into_iter().chain(sizes);
        Value::members(members.chain([("desc", Value::text(name))]))
    };
    Ok(threads.map(row).collect())
}
