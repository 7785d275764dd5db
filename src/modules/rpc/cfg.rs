//! `cfg.*`: parameters that may change while the proxy runs. What a parameter may be, its module's
//! table says; here is how to read it back.

use crate::effect::rpc::{Fault, Name, Value};
use crate::modules::{Config, Setup, all, core};
use crate::script::Setting;
use crate::time::Duration;

use super::args::Args;
use super::command::{Changed, Command, Container, Run, Stop, stop};

/// One parameter.
struct Adjustable {
    group: &'static str,
    name: &'static str,
    get: Get,
}

/// What a parameter is now.
#[derive(Clone, Copy)]
enum Get {
    Int(fn(&Config) -> i64),
    Text(fn(&Config) -> &str),
}

const fn row(group: &'static str, name: &'static str, get: fn(&Config) -> i64) -> Adjustable {
    let get = Get::Int(get);
    Adjustable { group, name, get }
}

const fn text(group: &'static str, name: &'static str, get: fn(&Config) -> &str) -> Adjustable {
    let get = Get::Text(get);
    Adjustable { group, name, get }
}

fn ms(time: Duration) -> i64 {
    time.as_millis() as i64
}

const TABLE: [Adjustable; 15] = [
    row("core", "debug", |c| c.core.debug as i64),
    row("core", "force_rport", |c| c.core.force_rport.into()),
    row("core", "max_while_loops", |c| c.core.max_while_loops.into()),
    row("tm", "aggregate_challenges", |c| {
        c.tm.aggregate_challenges.into()
    }),
    row("tm", "auto_inv_100", |c| c.tm.auto_inv_100.into()),
    text("tm", "auto_inv_100_reason", |c| &c.tm.auto_inv_100_reason),
    row("tm", "default_code", |c| c.tm.default_code),
    text("tm", "default_reason", |c| &c.tm.default_reason),
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
pub const CFG: [Command; 8] = [
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
                let member = |r: &Adjustable| (Name::Borrowed(r.name.as_bytes()), r.value(config));
                return Ok(vec![Value::Struct(of_group.map(member).collect())]);
            };
            let found = of_group.into_iter().find(|r| r.name.as_bytes() == &*name);
            let found = found.ok_or_else(|| stop(400, "Failed to get the variable"))?;
            Ok(vec![found.value(config)])
        }),
    },
    Command {
        name: "cfg.help",
        help: "Print the description of a configuration variable.",
        params: "GROUP NAME",
        container: Container::Last,
        run: Run::Here(|desk, args| {
            let (group, name) = (args.text(0)?, args.text(1)?);
            let row = rows(desk.setup).find(|r| r.is(&group, &name));
            let row = row.ok_or_else(|| stop(400, "Failed to get the variable description"))?;
            let kind = match row.get {
                Get::Int(_) => "integer",
                Get::Text(_) => "string",
            };
            let text = format!("{}\n(parameter type is {kind})", row.doc());
            Ok(vec![Value::text(text)])
        }),
    },
    setter("cfg.set", |setup, args| {
        two_words(args)?;
        let value = args.all().get(2);
        match value {
            Some(Value::Text(_)) => set(setup, args, Setting::Text(args.text(2)?.as_ref().into())),
            _ => set(setup, args, Setting::Int(args.int(2)?)),
        }
    }),
    setter("cfg.set_now_int", set_int),
    setter("cfg.seti", set_int),
    setter("cfg.set_now_string", set_text),
    setter("cfg.sets", set_text),
];

const fn setter(name: &'static str, run: fn(&Setup, &Args) -> Changed) -> Command {
    Command {
        name,
        help: "Set the value of a configuration variable and commit the change immediately.",
        params: "GROUP NAME VALUE",
        container: Container::Last,
        run: Run::Change(run),
    }
}

fn set_int(setup: &Setup, args: &Args) -> Changed {
    two_words(args)?;
    set(setup, args, Setting::Int(args.int(2)?))
}

fn set_text(setup: &Setup, args: &Args) -> Changed {
    two_words(args)?;
    set(setup, args, Setting::Text(args.text(2)?.as_ref().into()))
}

fn two_words(args: &Args) -> Result<(), Stop> {
    args.text(0)?;
    args.text(1)?;
    Ok(())
}

impl Adjustable {
    fn is_of(&self, group: &[u8]) -> bool {
        self.group.as_bytes() == group
    }

    fn is(&self, group: &[u8], name: &[u8]) -> bool {
        self.is_of(group) && self.name.as_bytes() == name
    }

    fn value(&self, config: &Config) -> Value {
        match self.get {
            Get::Int(get) => Value::Int(get(config)),
            Get::Text(get) => Value::text(get(config)),
        }
    }

    /// What the table of its module says of it.
    fn doc(&self) -> &'static str {
        if self.group == core::MODULE.name {
            let global = core::GLOBALS.iter().find(|g| g.sig.name == self.name);
            return global.map_or("", |g| g.sig.doc);
        }
        let module = all().iter().find(|m| m.name == self.group);
        let mut params = module.into_iter().flat_map(|m| m.params);
        params
            .find(|p| p.sig.name == self.name)
            .map_or("", |p| p.sig.doc)
    }
}

/// The number of a parameter that may change, for `$sel(cfg_get.GROUP.NAME)`.
pub(crate) fn value(setup: &Setup, group: &[u8], name: &[u8]) -> Option<i64> {
    match rows(setup).find(|r| r.is(group, name))?.get {
        Get::Int(get) => Some(get(&setup.config)),
        Get::Text(_) => None,
    }
}

/// Those of the modules that are loaded.
fn rows(setup: &Setup) -> impl Iterator<Item = &'static Adjustable> + '_ {
    TABLE
        .iter()
        .filter(|r| r.group == core::MODULE.name || setup.is_loaded(r.group))
}

fn set(setup: &Setup, args: &Args, value: Setting) -> Changed {
    let (group, name) = (args.text(0)?, args.text(1)?);
    let row = rows(setup).find(|r| r.is(&group, &name));
    let changed = row.ok_or_else(failed)?.set(setup, &value)?;
    Ok((Some(changed), Vec::new()))
}

fn failed() -> Stop {
    stop(400, "Failed to set the variable")
}

/// The level of the log, changed.
pub fn with_debug(setup: &Setup, level: i64) -> Result<Setup, Stop> {
    let row = TABLE.iter().find(|r| r.is(b"core", b"debug"));
    row.ok_or_else(failed)?.set(setup, &Setting::Int(level))
}

impl Adjustable {
    /// The same parameters but for this one.
    fn set(&self, setup: &Setup, value: &Setting) -> Result<Setup, Stop> {
        let is_kind = match (self.get, value) {
            (Get::Int(_), Setting::Int(_)) | (Get::Text(_), Setting::Text(_)) => true,
            (Get::Int(_), Setting::Text(_)) | (Get::Text(_), Setting::Int(_)) => false,
        };
        let mut changed = setup.clone();
        let store = match self.group == core::MODULE.name {
            true => core::GLOBALS
                .iter()
                .find(|g| g.sig.name == self.name)
                .map(|g| g.set),
            false => {
                let module = all().iter().find(|m| m.name == self.group);
                let mut params = module.into_iter().flat_map(|m| m.params);
                params.find(|p| p.sig.name == self.name).map(|p| p.set)
            }
        };
        let store = store.filter(|_| is_kind).ok_or_else(failed)?;
        let refused = |wanted: crate::modules::ParamError| {
            Stop::Fault(Fault::new(
                400,
                format!("{} must be {}", self.name, wanted.0),
            ))
        };
        store(&mut changed.config, value).map_err(refused)?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::rpc::Dialect;

    fn changed(words: &[Value]) -> Result<Setup, Stop> {
        let setup = Setup::from_text("loadmodule \"tm.so\"\nrequest_route { ; }\n", 1).unwrap();
        let Run::Change(run) = CFG.iter().find(|c| c.name == "cfg.set").unwrap().run else {
            unreachable!("it changes")
        };
        run(&setup, &Args::new(words.to_vec(), Dialect::Json)).map(|(setup, _)| setup.unwrap())
    }

    #[test]
    fn every_row_can_be_set_to_what_it_reads() {
        for r in &TABLE {
            let value = r.value(&Config::default());
            let setup = changed(&[Value::text(r.group), Value::text(r.name), value.clone()]);
            let setup = setup.unwrap_or_else(|e| panic!("{} {}: {e:?}", r.group, r.name));
            assert_eq!(r.value(&setup.config), value, "{} {}", r.group, r.name);
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
