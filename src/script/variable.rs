//! Pseudo-variables at run time: resolved at load, read and written through the host.

use super::error::Position;
use super::format::Format;
use super::host::{Access, Host, Index, Key, WriteError};
use super::signature::VariableId;
use super::transform::Transform;
use super::value::{Heap, Text, Value};

/// A use of a variable in the program: which, with what key and index, and its transformations.
#[derive(Debug)]
pub struct Variable {
    pub(super) target: Target,
    pub(super) index: IndexSpec,
    pub(super) transforms: Box<[Transform]>,
    /// Where it stands.
    pub at: Position,
}

/// Where the value comes from.
#[derive(Debug)]
pub(super) enum Target {
    /// `$rc`.
    Rc,
    /// `$null`, `$true`, `$def(ID)`, `$defn(ID)`.
    Constant(Value),
    /// `$_s(text)`.
    Format(Format),
    /// The host knows.
    Host(VariableId, Inner),
}

/// The inner name, before it is evaluated.
#[derive(Debug)]
pub(super) enum Inner {
    None,
    Text(Text),
    Word(u16),
    Format(Format),
    Variable(Box<Variable>),
}

/// The index, before it is evaluated.
#[derive(Debug)]
pub(super) enum IndexSpec {
    None,
    At(i64),
    All,
    Variable(Box<Variable>),
}

impl Variable {
    /// Its value now.
    #[inline]
    pub fn read<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Value {
        if let Some(access) = self.plain() {
            return host.read(heap, &access);
        }
        self.read_any(host, heap)
    }

    /// What the host is asked for, where that needs no evaluation and nothing is transformed: as
    /// for most variables.
    #[inline]
    fn plain(&self) -> Option<Access<'static>> {
        let (Target::Host(variable, inner), IndexSpec::None, []) =
            (&self.target, &self.index, &*self.transforms)
        else {
            return None;
        };
        let key = match inner {
            Inner::None => Key::None,
            Inner::Text(text) => Key::Text(*text),
            Inner::Word(n) => Key::Word(usize::from(*n)),
            Inner::Format(_) | Inner::Variable(_) => return None,
        };
        Some(Access {
            variable: *variable,
            key,
            index: Index::None,
        })
    }

    fn read_any<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Value {
        let mut value = match &self.target {
            Target::Rc => Value::Int(heap.rc),
            Target::Constant(value) => *value,
            Target::Format(format) => format.text(host, heap),
            Target::Host(id, inner) => {
                let access = self.access(*id, inner, host, heap);
                host.read(heap, &access)
            }
        };
        for transform in &self.transforms {
            value = transform.apply(value, host, heap);
        }
        value
    }

    /// Assigns it.
    pub fn write<H: Host + ?Sized>(
        &self,
        host: &mut H,
        heap: &mut Heap,
        value: Value,
    ) -> Result<(), WriteError> {
        if let Some(access) = self.plain() {
            return host.write(heap, &access, value);
        }
        match &self.target {
            Target::Host(id, inner) => {
                let access = self.access(*id, inner, host, heap);
                host.write(heap, &access, value)
            }
            Target::Rc | Target::Constant(_) | Target::Format(_) => Err(WriteError::Invalid),
        }
    }

    /// Which variable of the host it is; `None` for those of the language itself.
    pub fn id(&self) -> Option<VariableId> {
        match &self.target {
            Target::Host(id, _) => Some(*id),
            Target::Rc | Target::Constant(_) | Target::Format(_) => None,
        }
    }

    /// What the host would be asked for, for functions that treat a variable as a name.
    pub fn resolve<H: Host + ?Sized>(&self, host: &mut H, heap: &mut Heap) -> Option<Access<'_>> {
        match &self.target {
            Target::Host(id, inner) => Some(self.access(*id, inner, host, heap)),
            Target::Rc | Target::Constant(_) | Target::Format(_) => None,
        }
    }

    fn access<'a, H: Host + ?Sized>(
        &'a self,
        variable: VariableId,
        inner: &'a Inner,
        host: &mut H,
        heap: &mut Heap,
    ) -> Access<'a> {
        let key = match inner {
            Inner::None => Key::None,
            Inner::Text(text) => Key::Text(*text),
            Inner::Word(n) => Key::Word(usize::from(*n)),
            Inner::Format(format) => {
                let value = format.text(host, heap);
                Key::Text(heap.as_text(value))
            }
            Inner::Variable(variable) => Key::Variable(variable),
        };
        let index = match &self.index {
            IndexSpec::None => Index::None,
            IndexSpec::At(n) => Index::At(*n),
            IndexSpec::All => Index::All,
            IndexSpec::Variable(variable) => {
                let value = variable.read(host, heap);
                Index::At(heap.as_int(value))
            }
        };
        Access {
            variable,
            key,
            index,
        }
    }
}
