//! Modules that are known and not done yet: a configuration that names them loads with a warning,
//! their functions fail and say so, their variables are NULL.

mod checks;
mod dialog;
mod database;
mod control;
mod traffic;

use super::Module;

/// All of them.
pub const ALL: [&Module; 21] = [
    &dialog::MODULE,
    &control::CTL,
    &control::JSONRPCS,
    &control::XHTTP,
    &control::CFG_RPC,
    &control::COUNTERS,
    &control::STATISTICS,
    &control::APP_LUA,
    &database::DB_SQLITE,
    &database::DB_POSTGRES,
    &database::DB_MYSQL,
    &traffic::DMQ,
    &traffic::HTABLE,
    &traffic::DISPATCHER,
    &traffic::UAC,
    &checks::SANITY,
    &checks::CFGUTILS,
    &checks::IPOPS,
    &checks::RTIMER,
    &checks::PIKE,
    &checks::NATHELPER,
];

#[cfg(test)]
mod tests {
    use crate::modules::sample::{INVITE, run};

    #[test]
    fn nothing_pretends() {
        let ran = run(
            "$var(r) = dlg_manage(); $dlg_var(a) = \"b\";
             xlog(\"$var(r) $dlg_var(a) $dlg(state)\");",
            INVITE,
        );
        assert_eq!(ran.lines, ["-1 <null> <null>"]);
        assert!(
            ran.complaints.iter().any(|c| c.contains("dlg_manage()")),
            "{:?}",
            ran.complaints
        );
    }
}
