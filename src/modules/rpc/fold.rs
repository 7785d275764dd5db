//! How the answers of several shards become one.

use crate::effect::rpc::Value;

/// Adds the numbers of `more` to those at the same place in `sum`. What is no number stays as the
/// first shard has it: names, units, the shape are the same everywhere.
pub fn add(sum: &mut Vec<Value>, more: Vec<Value>) {
    if sum.is_empty() {
        *sum = more;
        return;
    }
    for (a, b) in sum.iter_mut().zip(more) {
        add_value(a, b);
    }
}

fn add_value(a: &mut Value, b: Value) {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => *a = a.saturating_add(b),
        (Value::Double(a), Value::Double(b)) => *a += b,
        (Value::Struct(a), Value::Struct(b)) => {
            a.iter_mut()
                .zip(b)
                .for_each(|((_, a), (_, b))| add_value(a, b));
        }
        (Value::Array(a), Value::Array(b)) => {
            a.iter_mut().zip(b).for_each(|(a, b)| add_value(a, b))
        }
        (
            Value::Null
            | Value::Int(_)
            | Value::Double(_)
            | Value::Text(_)
            | Value::Struct(_)
            | Value::Array(_),
            _,
        ) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(n: i64) -> Vec<Value> {
        let inner = Value::Array(vec![Value::Int(n), Value::text("u")]);
        vec![
            Value::members([("a", Value::Int(n)), ("b", inner)]),
            Value::Double(0.5),
        ]
    }

    #[test]
    fn numbers_are_added_where_they_stand() {
        let mut sum = vec![];
        for n in [1, 2, 39] {
            add(&mut sum, one(n));
        }
        let mut want = one(42);
        want[1] = Value::Double(1.5);
        assert_eq!(sum, want);
    }

    #[test]
    fn sums_stay_on_the_scale() {
        let mut sum = vec![Value::Int(i64::MAX)];
        add(&mut sum, vec![Value::Int(1)]);
        assert_eq!(sum, [Value::Int(i64::MAX)]);
    }
}
