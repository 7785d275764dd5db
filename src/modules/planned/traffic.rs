//! Distribution, storage and clients: tables only.

use crate::modules::entry::{planned_function, planned_param};
use crate::modules::{Function, Module, Param};

use super::{ANY, INT, NUM, PLANNED, REQUEST, STR, TEXT};

/// The module's table.
pub(super) const DMQ: Module = Module {
    name: "dmq",
    doc: "A bus between servers.",
    functions: &DMQ_FUNCTIONS,
    params: &DMQ_PARAMS,
    ..PLANNED
};

const DMQ_FUNCTIONS: [Function; 5] = [
    planned_function(
        "dmq_handle_message",
        &[NUM],
        0,
        (REQUEST, "Takes a KDMQ request."),
    ),
    planned_function(
        "dmq_process_message",
        &[NUM],
        0,
        (REQUEST, "Takes a KDMQ request."),
    ),
    planned_function(
        "dmq_send_message",
        &[TEXT, TEXT, TEXT, TEXT],
        4,
        (ANY, "Sends to a server."),
    ),
    planned_function(
        "dmq_bcast_message",
        &[TEXT, TEXT, TEXT],
        3,
        (ANY, "Sends to all servers."),
    ),
    planned_function(
        "dmq_is_from_node",
        &[],
        0,
        (REQUEST, "Whether a server sent it."),
    ),
];

const DMQ_PARAMS: [Param; 11] = [
    planned_param("server_address", STR, "", "Our address on the bus."),
    planned_param("server_socket", STR, "", "The socket to send from."),
    planned_param("notification_address", STR, "", "Another server."),
    planned_param(
        "multi_notify",
        INT,
        "0",
        "Whether all addresses of a name are asked.",
    ),
    planned_param("num_workers", INT, "2", "Processes."),
    planned_param("ping_interval", INT, "60", "Seconds between two pings."),
    planned_param("fail_count", INT, "1", "Pings that may fail."),
    planned_param(
        "notification_channel",
        STR,
        "notification_peer",
        "The channel of servers.",
    ),
    planned_param("worker_usleep", INT, "0", "Microseconds between two looks."),
    planned_param(
        "remove_inactive",
        INT,
        "1",
        "Whether servers that are away are forgotten.",
    ),
    planned_param(
        "enable_topos_sync",
        INT,
        "0",
        "Whether topos is replicated.",
    ),
];
