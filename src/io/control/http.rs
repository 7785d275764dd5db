//! Operators over HTTP: a core lends the connection on which a command came, here it is answered,
//! and the connection goes back.
//!
//! The core has its hands free meanwhile: whoever reads slowly or not at all keeps only this task
//! waiting, for as long as a reader may take and no longer.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;

use super::clerk::{Asking, Clerk};
use super::outlet::Outlet;
use super::sheet::Form;
use super::spool;
use crate::effect::{ConnId, HttpCommand, Level};
use crate::io::mesh::Item;
use crate::io::tcp::Lent;
use crate::modules::rpc::json::{self, Style};
use crate::steer::ShardId;

/// How often, and how far apart, a core that has no room is offered its connection. After that
/// it finds out by itself.
const RETURN_COUNT_MAX: usize = 10;

/// See [`RETURN_COUNT_MAX`].
const RETURN_PAUSE: Duration = Duration::from_millis(100);

/// Answers what the cores bring until the thread ends.
pub(super) async fn serve(clerk: Rc<Clerk>, mut queue: Receiver<Lent>) {
    while let Some(lent) = queue.recv().await {
        tokio::task::spawn_local(answer(clerk.clone(), lent));
    }
}

async fn answer(clerk: Rc<Clerk>, lent: Lent) {
    let conn = lent.command.conn;
    let Lent {
        stream,
        unsent,
        command,
        token,
    } = lent;
    let answered = match TcpStream::from_std(stream) {
        Ok(mut stream) => converse(&clerk, &mut stream, &unsent, &command).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &answered {
        clerk.log(Level::Dbg, || format!("an operator is gone: {error}"));
    }
    give_back(&clerk, conn, answered.unwrap_or(false)).await;
    drop(token);
}

/// True: the connection may go on.
async fn converse(
    clerk: &Clerk,
    stream: &mut TcpStream,
    unsent: &[u8],
    command: &HttpCommand,
) -> io::Result<bool> {
    spool::write(stream, unsent).await?;
    let Some(_seat) = clerk.clients.enter() else {
        let busy = (503, b"Service Unavailable".as_slice());
        spool::write(stream, &command.frame.answer(busy, (b"", b""))).await?;
        return Ok(!command.frame.is_last);
    };
    // The script was told by its return code that this is JSON.
    let Some(request) = json::request(&command.command) else {
        return Ok(false);
    };
    let is_pretty = clerk.is_pretty();
    let asking = Asking {
        method: request.method,
        is_callable: request.is_callable,
        args: request.args,
        form: Form::Json {
            style: Style { is_pretty },
            id: request.id,
        },
    };
    let mut outlet = Outlet::new(stream, Some(&command.frame));
    clerk.answer_on(asking, &mut outlet).await?;
    Ok(!outlet.is_last())
}

async fn give_back(clerk: &Clerk, conn: ConnId, is_open: bool) {
    for _ in 0..RETURN_COUNT_MAX {
        let item = Item::GivenBack(conn, is_open);
        if clerk.office.mesh.post(ShardId(conn.core), item).is_ok() {
            return;
        }
        tokio::time::sleep(RETURN_PAUSE).await;
    }
}
