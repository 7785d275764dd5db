//! `cfg.*`: parameters that may change while the proxy runs. What a parameter may be, its module's
//! table says; here is how to read it back.

use crate::effect::rpc::{Fault, Name, Value};
use crate::modules::{Config, Setup, all, core};
use crate::script::Setting;
use crate::time::Duration;

use super::args::Args;
use super::command::{Command, Container, Run, Stop, stop};

/// One parameter.
struct Adjustable {
    group: &'static str,
    name: &'static str,
    get: fn(&Config) -> i64,
}

const fn row(group: &'static str, name: &'static str, get: fn(&Config) -> i64) -> Adjustable {
    Adjustable { group, name, get }
}

fn ms(time: Duration) -> i64 {
    time.as_millis() as i64
}

const TABLE: [Adjustable; 13] = [
    row("core", "debug", |c| c.core.debug as i64),
    row("core", "force_rport", |c| c.core.force_rport.into()),
    row("core", "max_while_loops", |c| c.core.max_while_loops.into()),
    row("tm", "aggregate_challenges", |c| {
        c.tm.aggregate_challenges.into()
    }),
    row("tm", "auto_inv_100", |c| c.tm.auto_inv_100.into()),
    row("tm", "default_code", |c| c.tm.default_code),
    row("tm", "fr_inv_timer", |c| ms(c.tm.fr_inv_timer)),
    row("tm", "fr_timer", |c| ms(c.tm.fr_timer)),
    row("tm", "max_inv_lifetime", |c| ms(c.tm.max_inv_lifetime)),
    row("tm", "max_noninv_lifetime", |c| {
        ms(c.tm.max_noninv_lifetime)
    }),
    row("tm", "retr_timer1", |c| ms(c.tm.retr_timer1)),
    row("tm", "retr_timer2", |c| ms(c.tm.retr_timer2)),
    row("tm", "wt_timer", |c| ms(c.tm.wt_timer)),
];

/// The commands of `cfg_rpc`.
pub const CFG: [Command; 5] = [
    Command {
        name: "cfg.list",
        help: "List the configuration variables.",
        params: "[GROUP]",
        container: Container::Array,
        run: Run::Here(|desk, args| {
            let group = args.text(0).ok();
            let rows = rows(desk.setup).filter(|r| group.as_deref().is_none_or(|g| r.is_of(g)));
            Ok(rows
                .map(|r| Value::text(format!("{}: {}", r.group, r.name)))
                .collect())
        }),
    },
    Command {
        name: "cfg.get",
        help: "Get the value of a configuration variable.",
        params: "GROUP [NAME]",
        container: Container::Last,
        run: Run::Here(|desk, args| {
            let group = args
                .text(0)
                .map_err(|_| stop(500, "Failed to get the parameters"))?;
            let config = &desk.setup.config;
            let of_group = rows(desk.setup).filter(|r| r.is_of(&group));
            let Ok(name) = args.text(1) else {
                let member = |r: &Adjustable| {
                    (
                        Name::Borrowed(r.name.as_bytes()),
                        Value::Int((r.get)(config)),
                    )
                };
                return Ok(vec![Value::Struct(of_group.map(member).collect())]);
            };
            let found = of_group.into_iter().find(|r| r.name.as_bytes() == &*name);
            let found = found.ok_or_else(|| stop(400, "Failed to get the variable"))?;
            Ok(vec![Value::Int((found.get)(config))])
        }),
    },
    setter("cfg.set"),
    setter("cfg.set_now_int"),
    setter("cfg.seti"),
];

const fn setter(name: &'static str) -> Command {
    Command {
        name,
        help: "Set the value of a configuration variable and commit the change immediately.",
        params: "GROUP NAME VALUE",
        container: Container::Last,
        run: Run::Change(set),
    }
}

impl Adjustable {
    fn is_of(&self, group: &[u8]) -> bool {
        self.group.as_bytes() == group
    }
}

/// The value of a parameter that may change, for `$sel(cfg_get.GROUP.NAME)`.
pub(crate) fn value(setup: &Setup, group: &[u8], name: &[u8]) -> Option<i64> {
    let mut rows = rows(setup).filter(|r| r.is_of(group));
    let found = rows.find(|r| r.name.as_bytes() == name)?;
    Some((found.get)(&setup.config))
}

/// Those of the modules that are loaded.
fn rows(setup: &Setup) -> impl Iterator<Item = &'static Adjustable> + '_ {
    TABLE
        .iter()
        .filter(|r| r.group == core::MODULE.name || setup.is_loaded(r.group))
}

fn set(setup: &Setup, args: &Args) -> Result<Setup, Stop> {
    let failed = || stop(400, "Failed to set the variable");
    let lacking = |_| stop(500, "Failed to get the parameters");
    let (group, name) = (
        args.text(0).map_err(lacking)?,
        args.text(1).map_err(lacking)?,
    );
    let value = Setting::Int(args.int(2)?);
    let row = rows(setup).find(|r| r.is_of(&group) && r.name.as_bytes() == &*name);
    let row = row.ok_or_else(failed)?;
    let mut changed = setup.clone();
    let store = match row.group == core::MODULE.name {
        true => core::GLOBALS
            .iter()
            .find(|g| g.sig.name == row.name)
            .map(|g| g.set),
        false => {
            let module = all().iter().find(|m| m.name == row.group);
            let mut params = module.into_iter().flat_map(|m| m.params);
            params.find(|p| p.sig.name == row.name).map(|p| p.set)
        }
    };
    let stored = store.ok_or_else(failed)?(&mut changed.config, &value);
    let refused = |wanted: crate::modules::ParamError| {
        Stop::Fault(Fault::new(
            400,
            format!("{} must be {}", row.name, wanted.0),
        ))
    };
    stored.map_err(refused)?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::rpc::Dialect;

    fn changed(words: &[Value]) -> Result<Setup, Stop> {
        let setup = Setup::from_text("loadmodule \"tm.so\"\nrequest_route { ; }\n", 1).unwrap();
        set(&setup, &Args::new(words.to_vec(), Dialect::Json))
    }

    #[test]
    fn every_row_can_be_set_to_what_it_reads() {
        for r in &TABLE {
            let value = Value::Int((r.get)(&Config::default()));
            let setup = changed(&[Value::text(r.group), Value::text(r.name), value.clone()]);
            let setup = setup.unwrap_or_else(|e| panic!("{} {}: {e:?}", r.group, r.name));
            assert_eq!(
                Value::Int((r.get)(&setup.config)),
                value,
                "{} {}",
                r.group,
                r.name
            );
        }
    }

    #[test]
    fn a_change_is_checked_as_in_the_file() {
        let tm = Value::text("tm");
        let timer = [tm.clone(), Value::text("fr_timer"), Value::Int(20_000)];
        assert_eq!(
            changed(&timer).unwrap().config.tm.fr_timer,
            Duration::from_secs(20)
        );
        let refused = [
            [tm.clone(), Value::text("fr_timer"), Value::Int(-1)],
            [tm, Value::text("nosuch"), Value::Int(1)],
            [Value::text("rr"), Value::text("fr_timer"), Value::Int(1)],
        ];
        for words in refused {
            assert!(matches!(changed(&words), Err(Stop::Fault(_))), "{words:?}");
        }
    }
}
