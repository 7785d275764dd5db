//! Modules that are known and not done yet: a configuration that names them loads with a warning,
//! their functions fail and say so, their variables are NULL.

mod checks;
mod database;
mod control;
mod traffic;

use super::{EMPTY, Module};
use crate::script::{ParamKind, ParamType, RouteKinds};

const INT: ParamType = ParamType::Int;
const STR: ParamType = ParamType::Str;
const TEXT: ParamKind = ParamKind::Text;
const NUM: ParamKind = ParamKind::Int;
const CONST: ParamKind = ParamKind::Const;
const OUTPUT: ParamKind = ParamKind::Output;
const ANY: RouteKinds = RouteKinds::ANY;
const REQUEST: RouteKinds = RouteKinds::REQUEST;

/// What the tables differ from.
const PLANNED: Module = Module {
    planned: true,
    ..EMPTY
};

/// All of them.
pub const ALL: [&Module; 9] = [
    &control::CFG_RPC,
    &control::APP_LUA,
    &database::DB_SQLITE,
    &database::DB_POSTGRES,
    &database::DB_MYSQL,
    &traffic::DMQ,
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
            "$var(r) = dlg_db_load_extra(); xlog(\"$var(r) $dlg(state)\");",
            INVITE,
        );
        assert_eq!(ran.lines, ["-1 <null>"]);
        assert!(
            ran.complaints
                .iter()
                .any(|c| c.contains("dlg_db_load_extra()")),
            "{:?}",
            ran.complaints
        );
    }
}
