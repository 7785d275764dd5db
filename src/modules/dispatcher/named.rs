//! Variables that parameters name: `hash_pvar`, `setid_pvname`, `attrs_pvname`.
//!
//! A parameter is text, so its variables are looked up by name when they are used; those that are
//! assigned are looked up once before, when the file is loaded.

use crate::modules::{Call, all};
use crate::script::{Access, Heap, Index, InnerKind, Key, ModuleId, Value, VariableId};

/// The text with its variables, `$name` or `$name(key)`, replaced by their values; NULL is
/// `<null>`.
pub(super) fn expand(call: &mut Call<'_>, heap: &mut Heap, pattern: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    let mut parts = pattern.split(|b| *b == b'$');
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        let (name, key, rest) = split(part);
        out.extend(value(call, heap, name, key).unwrap_or_else(|| b"<null>".to_vec()));
        out.extend_from_slice(rest);
    }
    out
}

/// The value of a variable as text; `None` when it is NULL or there is none of this name.
pub(super) fn value(
    call: &mut Call<'_>,
    heap: &mut Heap,
    name: &[u8],
    key: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let id = find(name)?;
    let access = access(heap, id, key)?;
    let value = (crate::modules::variable(id).get)(call, heap, &access);
    if value == Value::Null {
        return None;
    }
    let text = heap.as_text(value);
    Some(heap.bytes(text).to_vec())
}

/// Assigns the variable that is written like this; nothing when no text is.
pub(super) fn assign(call: &mut Call<'_>, heap: &mut Heap, written: &str, value: Value) {
    let Some((b'$', rest)) = written.as_bytes().split_first() else {
        return;
    };
    let (name, key, _) = split(rest);
    let Some(id) = find(name) else {
        return;
    };
    let Some(access) = access(heap, id, key) else {
        return;
    };
    if let Some(set) = crate::modules::variable(id).set {
        // What cannot be assigned in this route stays as it is, as in a script.
        let _ = set(call, heap, &access, value);
    }
}

/// Whether a variable is written like this, and nothing else, and can be assigned.
pub(super) fn is_assignable(written: &str) -> bool {
    let Some((b'$', rest)) = written.as_bytes().split_first() else {
        return false;
    };
    let (name, key, behind) = split(rest);
    find(name).is_some_and(|id| {
        let sig = crate::modules::variable(id).sig;
        let fits = match sig.inner {
            InnerKind::None => key.is_none(),
            InnerKind::OneOf(words) => {
                key.is_some_and(|key| words.iter().any(|word| word.as_bytes() == key))
            }
            InnerKind::OptionalName => true,
            _ => key.is_some_and(|key| !key.is_empty() && !key.contains(&b'$')),
        };
        behind.is_empty() && fits && sig.writable && !sig.planned
    })
}

/// `name(key)` and what stands behind it.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>, &[u8]) {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let end = text.iter().position(|b| !is_name(b));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let close = rest.iter().position(|b| *b == b')');
    match close.filter(|_| rest.first() == Some(&b'(')) {
        Some(close) => (name, Some(&rest[1..close]), &rest[close + 1..]),
        None => (name, None, rest),
    }
}

fn find(name: &[u8]) -> Option<VariableId> {
    all().iter().enumerate().find_map(|(module, m)| {
        let is_it = |v: &crate::modules::Variable| v.sig.name.as_bytes() == name;
        let index = m.variables.iter().position(is_it)?;
        Some(VariableId {
            module: ModuleId(module as u16),
            index: index as u16,
        })
    })
}

fn access<'a>(heap: &mut Heap, variable: VariableId, key: Option<&[u8]>) -> Option<Access<'a>> {
    let key = match (crate::modules::variable(variable).sig.inner, key) {
        (InnerKind::Name | InnerKind::Item | InnerKind::OptionalName, Some(key)) => {
            Key::Text(heap.text(key))
        }
        (InnerKind::OneOf(words), Some(key)) => {
            Key::Word(words.iter().position(|w| w.as_bytes() == key)?)
        }
        (_, _) => Key::None,
    };
    Some(Access {
        variable,
        key,
        index: Index::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_assigned() {
        let table = [
            ("$var(set)", true),
            ("$avp(set)", true),
            ("$du", true),
            ("$var()", false),
            ("$var($rU)", false),
            ("$var(a)b", false),
            ("$var", false),
            ("$rm", false),
            ("$nowhere", false),
            ("set", false),
            ("", false),
        ];
        for (written, want) in table {
            assert_eq!(is_assignable(written), want, "{written}");
        }
    }
}
