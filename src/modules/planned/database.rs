//! Databases: tables only.

use crate::modules::entry::planned_param;
use crate::modules::{Module, Param};

use super::{INT, PLANNED, STR};

/// The module's table.
pub(super) const DB_SQLITE: Module = module("db_sqlite", "SQLite.", &SQLITE);
/// The module's table.
pub(super) const DB_POSTGRES: Module = module("db_postgres", "PostgreSQL.", &POSTGRES);
/// The module's table.
pub(super) const DB_MYSQL: Module = module("db_mysql", "MySQL and MariaDB.", &MYSQL);

const fn module(name: &'static str, doc: &'static str, params: &'static [Param]) -> Module {
    Module {
        name,
        doc,
        params,
        ..PLANNED
    }
}

const SQLITE: [Param; 3] = [
    planned_param("db_set_readonly", STR, "", "A database that is only read."),
    planned_param(
        "db_set_journal_mode",
        STR,
        "",
        "The journal mode of a database.",
    ),
    planned_param(
        "db_set_busy_timeout",
        STR,
        "",
        "Milliseconds to wait for a lock.",
    ),
];

const POSTGRES: [Param; 6] = [
    planned_param(
        "retries",
        INT,
        "2",
        "How often a broken connection is tried again.",
    ),
    planned_param("timeout", INT, "0", "Milliseconds for a connection."),
    planned_param("tcp_keepalive", INT, "0", "Seconds of keep-alive."),
    planned_param("lockset", INT, "4", "Locks."),
    planned_param("con_param", STR, "", "More parameters of a connection."),
    planned_param("bytea_output_escape", INT, "1", "How bytes are written."),
];

const MYSQL: [Param; 8] = [
    planned_param("ping_interval", INT, "300", "Seconds between two pings."),
    planned_param("timeout_interval", INT, "2", "Seconds for an answer."),
    planned_param(
        "auto_reconnect",
        INT,
        "1",
        "Whether a broken connection is made again.",
    ),
    planned_param(
        "insert_delayed",
        INT,
        "0",
        "Whether rows are inserted later.",
    ),
    planned_param("update_affected_found", INT, "0", "What counts as changed."),
    planned_param("unsigned_type", INT, "0", "Types without sign."),
    planned_param("opt_ssl_mode", INT, "0", "Encryption."),
    planned_param("server_timezone", INT, "0", "The server's time zone."),
];
