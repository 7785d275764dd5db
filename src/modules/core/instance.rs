//! Instances of groups of custom parameters: `group[5].name = value`, and `cfg_select`.

use crate::script::{Arg, ErrorKind, Position, Program, Setting};

/// What is wrong with the instances of a configuration: an instance gives another value to a
/// parameter that is there without it, and a group that is selected must exist.
pub fn check(program: &Program) -> Vec<(Position, ErrorKind)> {
    let mut wrong = Vec::new();
    let mut refuse = |at, name: String, wanted| {
        wrong.push((at, ErrorKind::GlobalType { name, wanted }));
    };
    for custom in program.customs.iter().filter(|c| c.instance.is_some()) {
        let name = format!("{}.{}", custom.group, custom.name);
        let is_common = |c: &&crate::script::Custom| {
            c.instance.is_none() && c.group == custom.group && c.name == custom.name
        };
        match program.customs.iter().find(is_common).map(|c| &c.value) {
            None => refuse(custom.at, name, "declared without an instance, too"),
            Some(common) if is_text(common) != is_text(&custom.value) => {
                refuse(custom.at, name, "of one type in all instances");
            }
            Some(_) => {}
        }
    }
    for site in program.sites() {
        let name = crate::modules::function(site.function).sig.name;
        let Some(Arg::Text(group)) = site.arg(0).filter(|_| name == "cfg_select") else {
            continue;
        };
        let group = program.constant(*group);
        if !program.customs.iter().any(|c| c.group.as_bytes() == group) {
            refuse(
                site.at,
                name.to_owned(),
                "called with a group of custom parameters",
            );
        }
    }
    wrong
}

fn is_text(value: &Setting) -> bool {
    matches!(value, Setting::Text(_))
}

#[cfg(test)]
mod tests {
    use crate::modules::Setup;

    #[test]
    fn instances_fit_what_is_declared() {
        for (params, call, wanted) in [
            ("a.x = 1\na[5].x = 2", "cfg_select(\"a\", 5);", ""),
            ("a[5].x = 2\na.x = 1", "cfg_reset(\"a\");", ""),
            ("a.x = 1\na[5].y = 2", ";", "\"a.y\" must be declared"),
            (
                "a.x = 1\na[5].x = \"t\"",
                ";",
                "\"a.x\" must be of one type",
            ),
            (
                "a.x = 1",
                "cfg_select(\"b\", 5);",
                "\"cfg_select\" must be called",
            ),
            ("a.x = 1\na[5].x = 2\na[5].x = 3", ";", "a.x"),
        ] {
            let text = format!("{params}\nrequest_route {{ {call} }}\n");
            let said = Setup::from_text(&text, 1).map_err(|e| e.to_string());
            match said {
                Ok(_) => assert_eq!(wanted, "", "{params} {call}"),
                Err(said) => {
                    assert!(
                        !wanted.is_empty() && said.contains(wanted),
                        "{params} {call}: {said}"
                    );
                }
            }
        }
    }
}
