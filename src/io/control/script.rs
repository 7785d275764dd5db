//! Commands that scripts give (`jsonrpc_exec`): answered as an operator's, and brought to the core
//! on which the script waits.

use std::rc::Rc;

use tokio::sync::mpsc::Receiver;

use super::Order;
use super::clerk::{Asking, Clerk};
use super::sheet::Form;
use crate::effect::Executed;
use crate::effect::rpc::Fault;
use crate::io::mesh::Item;
use crate::limits::SCRIPT_HEAP_SIZE_MAX;
use crate::modules::rpc::json::{self, Style};

/// Answers what the cores bring until the thread ends.
pub(super) async fn serve(clerk: Rc<Clerk>, mut queue: Receiver<Order>) {
    while let Some(order) = queue.recv().await {
        let clerk = clerk.clone();
        tokio::task::spawn_local(async move {
            let answer = answer(&clerk, &order.command).await;
            // A core that has no room has its script's own timer.
            let item = Item::Executed(order.run, answer.map(Box::new));
            let _ = clerk.office.mesh.post(order.core, item);
        });
    }
}

async fn answer(clerk: &Clerk, command: &[u8]) -> Option<Executed> {
    // The script was told by its return code when this is no JSON.
    let request = json::request(command)?;
    let style = Style {
        is_pretty: clerk.is_pretty(),
    };
    let form = Form::Json {
        style,
        id: request.id,
    };
    let asking = Asking {
        method: request.method,
        is_callable: request.is_callable,
        args: request.args,
        form: form.clone(),
    };
    let (reply, fault) = clerk.outcome(asking).await;
    let body = match reply.body.short() {
        Some(rest) => [&reply.head, rest].concat(),
        None => Vec::new(),
    };
    // A script could not read it with anything beside.
    if reply.body.short().is_none() || body.len() > SCRIPT_HEAP_SIZE_MAX / 2 {
        let fault = Fault::new(500, "the answer is too long for a script");
        return Some(executed(form.fault(&fault).head, Some(fault)));
    }
    Some(executed(body, fault))
}

fn executed(body: Vec<u8>, fault: Option<Fault>) -> Executed {
    let (code, text) = match fault {
        Some(fault) => (fault.code.into(), fault.text.into()),
        None => (200, "OK".into()),
    };
    Executed {
        code,
        text,
        body: body.into(),
    }
}
