use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::{imports, Status};

pub(crate) const INPUT: u32 = 0;
pub(crate) const CONFIG: u32 = 1;
pub(crate) const REQUEST: u32 = 2;
pub(crate) const REPLY: u32 = 3;
pub(crate) const OUTPUT: u32 = 4;

/// The JSON type of a value. `Json` is for writing alone: JSON text of any kind.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Absent = 0,
    Null = 1,
    Bool = 2,
    Number = 3,
    String = 4,
    Array = 5,
    Object = 6,
    Json = 7,
}

impl Kind {
    fn of(r: i64) -> Kind {
        match r >> 32 {
            1 => Kind::Null,
            2 => Kind::Bool,
            3 => Kind::Number,
            4 => Kind::String,
            5 => Kind::Array,
            6 => Kind::Object,
            _ => Kind::Absent,
        }
    }
}

/// A field as the host gives it: the characters of a string, the JSON text of anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its kind; `Absent` if it is not there.
    pub kind: Kind,
    /// Its text.
    pub text: String,
}

/// A JSON document in the host, or a part of one. Paths are relative to it.
#[derive(Clone, Debug)]
pub struct Doc {
    id: u32,
    root: Cow<'static, str>,
}

impl Doc {
    pub(crate) fn whole(id: u32) -> Doc {
        Doc::part(id, "")
    }

    pub(crate) fn part(id: u32, root: &'static str) -> Doc {
        Doc { id, root: Cow::Borrowed(root) }
    }

    /// The part of the document at `path`, whether it is there or not.
    pub fn at(&self, path: &str) -> Doc {
        Doc { id: self.id, root: Cow::Owned(self.path(path).into_owned()) }
    }

    fn path<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        if self.root.is_empty() {
            return Cow::Borrowed(path);
        }
        if path.is_empty() {
            return Cow::Borrowed(&self.root);
        }
        let mut whole = String::with_capacity(self.root.len() + path.len());
        whole.push_str(&self.root);
        whole.push_str(path);
        Cow::Owned(whole)
    }

    /// The value at `path`, of `Kind::Absent` if there is none.
    pub fn get(&self, path: &str) -> Result<Value, Status> {
        let path = self.path(path);
        let (r, text) = read(|buf| imports::field(self.id, &path, buf))?;
        Ok(Value { kind: Kind::of(r), text })
    }

    /// The kind of the value at `path`; `Absent` too if the path is malformed.
    pub fn kind(&self, path: &str) -> Kind {
        Kind::of(imports::field(self.id, &self.path(path), &mut []).max(0))
    }

    /// The string at `path`.
    pub fn text(&self, path: &str) -> Option<String> {
        self.of_kind(path, Kind::String)
    }

    /// The integer at `path`, if an `i64` holds it and it has neither point nor exponent.
    pub fn int(&self, path: &str) -> Option<i64> {
        self.of_kind(path, Kind::Number)?.parse().ok()
    }

    /// The number at `path`.
    pub fn float(&self, path: &str) -> Option<f64> {
        self.of_kind(path, Kind::Number)?.parse().ok()
    }

    /// The boolean at `path`.
    pub fn bool(&self, path: &str) -> Option<bool> {
        Some(self.of_kind(path, Kind::Bool)? == "true")
    }

    fn of_kind(&self, path: &str, kind: Kind) -> Option<String> {
        self.get(path).ok().filter(|v| v.kind == kind).map(|v| v.text)
    }

    /// How many members the object or array at `path` has, else 0.
    pub fn len(&self, path: &str) -> usize {
        (imports::keys(self.id, &self.path(path), &mut []).max(0) >> 32) as usize
    }

    /// The names of the members of the object at `path` in byte order, or the indexes of the array.
    pub fn keys(&self, path: &str) -> Result<Vec<String>, Status> {
        let path = self.path(path);
        let (_, text) = read(|buf| imports::keys(self.id, &path, buf))?;
        Ok(text.split('/').skip(1).map(unescape).collect())
    }

    /// Writes a string.
    pub fn set_text(&self, path: &str, value: &str) -> Result<(), Status> {
        self.set(path, Kind::String, value.as_bytes())
    }

    /// Writes an integer.
    pub fn set_int(&self, path: &str, value: i64) -> Result<(), Status> {
        self.set_number(path, &value.to_string())
    }

    /// Writes a number. JSON has no infinities and no NaN: they are invalid.
    pub fn set_float(&self, path: &str, value: f64) -> Result<(), Status> {
        self.set_number(path, &value.to_string())
    }

    /// Writes a number as it is spelled, so that no digit is lost.
    pub fn set_number(&self, path: &str, text: &str) -> Result<(), Status> {
        self.set(path, Kind::Number, text.as_bytes())
    }

    /// Writes a boolean.
    pub fn set_bool(&self, path: &str, value: bool) -> Result<(), Status> {
        self.set(path, Kind::Bool, if value { b"true" } else { b"false" })
    }

    /// Writes null.
    pub fn set_null(&self, path: &str) -> Result<(), Status> {
        self.set(path, Kind::Null, b"null")
    }

    /// Writes any value, given as JSON text.
    pub fn set_json(&self, path: &str, text: &str) -> Result<(), Status> {
        self.set(path, Kind::Json, text.as_bytes())
    }

    /// Writes a value of a kind: the characters of a string, the JSON text of anything else.
    pub fn set(&self, path: &str, kind: Kind, value: &[u8]) -> Result<(), Status> {
        Status::check(imports::set(self.id, &self.path(path), kind as u32, value)).map(|_| ())
    }

    /// Removes the member at `path`.
    pub fn remove(&self, path: &str) -> Result<(), Status> {
        self.set(path, Kind::Absent, b"")
    }

    /// The number of raw bytes beside the document.
    pub fn body_len(&self) -> u64 {
        imports::body(self.id, 0, &mut []).max(0) as u64
    }

    /// Copies raw bytes from `offset` on into `buf`, and returns how many.
    pub fn read_body(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Status> {
        let total = Status::check(imports::body(self.id, offset, buf))? as u64;
        Ok(total.saturating_sub(offset).min(buf.len() as u64) as usize)
    }

    /// All the raw bytes beside the document.
    pub fn body(&self) -> Result<Vec<u8>, Status> {
        let mut all = vec![0; self.body_len() as usize];
        let n = self.read_body(0, &mut all)?;
        all.truncate(n);
        Ok(all)
    }

    /// Appends to the raw bytes beside the result.
    pub fn append_body(&self, data: &[u8]) -> Result<(), Status> {
        Status::check(imports::append(self.id, data)).map(|_| ())
    }

    /// Decodes the value at `path`.
    #[cfg(feature = "serde")]
    pub fn decode<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Status> {
        let value = self.get(path)?;
        match value.kind {
            Kind::Absent => Err(Status::NotFound),
            Kind::String => T::deserialize(serde::de::value::StringDeserializer::<serde_json::Error>::new(value.text)).map_err(|_| Status::Invalid),
            _ => serde_json::from_str(&value.text).map_err(|_| Status::Invalid),
        }
    }

    /// Encodes a value and writes it at `path`.
    #[cfg(feature = "serde")]
    pub fn encode<T: serde::Serialize + ?Sized>(&self, path: &str, value: &T) -> Result<(), Status> {
        let text = serde_json::to_string(value).map_err(|_| Status::Invalid)?;
        self.set_json(path, &text)
    }
}

/// read asks an import for a text: once for most, twice for one that is longer.
fn read(import: impl Fn(&mut [u8]) -> i64) -> Result<(i64, String), Status> {
    let mut buf = vec![0; 256];
    loop {
        let r = Status::check(import(&mut buf))?;
        let len = r as u32 as usize;
        if len <= buf.len() {
            buf.truncate(len);
            return String::from_utf8(buf).map(|text| (r, text)).map_err(|_| Status::Invalid);
        }
        buf.resize(len, 0);
    }
}

/// A member's name as a token of a path.
pub fn escape(name: &str) -> Cow<'_, str> {
    if !name.contains(|c| c == '~' || c == '/') {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.replace('~', "~0").replace('/', "~1"))
}

fn unescape(token: &str) -> String {
    if !token.contains('~') {
        return token.to_string();
    }
    token.replace("~1", "/").replace("~0", "~")
}
