//! Options of a loss that is made by its name: from text, from JSON, or set one by one.

use crate::{LossError, MeanOver, Reduction, Result, reduce::Kept};
use std::{
    cell::{Ref, RefCell},
    collections::BTreeMap,
    fmt,
    str::FromStr,
};
use tch::{Device, Tensor};

/// The value of an option, before the loss says what type it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `none`: the option is left out.
    None,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A word, such as the name of a reduction.
    Text(String),
    /// `[1, 2, 3]`: one number a class, say; lists of lists are matrices.
    List(Vec<Value>),
}

impl Value {
    fn of(json: serde_json::Value) -> Result<Self, String> {
        Ok(match json {
            serde_json::Value::Null => Value::None,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => {
                Value::Number(number.as_f64().ok_or_else(|| format!("the number {number}"))?)
            }
            serde_json::Value::String(text) => Value::word(&text),
            serde_json::Value::Array(values) => {
                Value::List(values.into_iter().map(Value::of).collect::<Result<_, _>>()?)
            }
            serde_json::Value::Object(_) => return Err("an object".to_owned()),
        })
    }

    fn word(text: &str) -> Self {
        match text {
            "none" | "None" => Value::None,
            "true" | "True" => Value::Bool(true),
            "false" | "False" => Value::Bool(false),
            text => Value::Text(text.to_owned()),
        }
    }

    /// A value as text: JSON, or a bare word.
    fn parse(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(json) => Value::of(json),
            Err(error) if text.is_empty() || text.starts_with(['[', '{', '"']) => {
                Err(format!("{error} in `{text}`"))
            }
            Err(_) => Ok(Value::word(text)),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::None => f.write_str("none"),
            Value::Bool(value) => value.fmt(f),
            Value::Number(value) => value.fmt(f),
            Value::Text(text) => f.write_str(text),
            Value::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $into:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}

value_from! {
    f64 => |value| Value::Number(value),
    i32 => |value| Value::Number(value.into()),
    bool => |value| Value::Bool(value),
    &str => |value| Value::word(value),
    Vec<f64> => |values| Value::List(values.into_iter().map(Value::Number).collect()),
}

/// Named options for [`by_name`](super::by_name).
///
/// # Examples
///
/// From text, from JSON, or one by one; all three say the same:
///
/// ```
/// use tch_losses::loss::Options;
///
/// let text: Options = "gamma=1.5, alpha=none, reduction=sum".parse()?;
/// let json = Options::from_json(r#"{"gamma": 1.5, "alpha": null, "reduction": "sum"}"#)?;
/// let set = Options::new().set("gamma", 1.5).set("alpha", "none").set("reduction", "sum");
/// assert_eq!(text, json);
/// assert_eq!(text, set);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    values: BTreeMap<String, Value>,
    device: Device,
}

impl Default for Options {
    fn default() -> Self {
        Options { values: BTreeMap::new(), device: Device::Cpu }
    }
}

impl Options {
    /// No options: the loss keeps its defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one option; the last value of a name holds.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// The value of an option, if it is set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Where tensors given as lists, such as class weights, are put; the CPU by default.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Options from a JSON object.
    ///
    /// # Errors
    ///
    /// Text that is no JSON object, or a value that is an object itself.
    pub fn from_json(text: &str) -> Result<Self> {
        let error = |message| LossError::Parse { text: text.to_owned(), message };
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|source| error(source.to_string()))?;
        let mut options = Options::new();
        for (name, value) in object {
            let value = Value::of(value).map_err(|what| error(format!("{name} is {what}")))?;
            options.values.insert(name, value);
        }
        Ok(options)
    }
}

impl FromStr for Options {
    type Err = LossError;

    /// Options from `name=value, name=value`, or from a JSON object.
    fn from_str(text: &str) -> Result<Self> {
        if text.trim_start().starts_with('{') {
            return Options::from_json(text);
        }
        let mut options = Options::new();
        let items = split(text, ',').into_iter().map(str::trim).filter(|item| !item.is_empty());
        for item in items {
            let error = |message| LossError::Parse { text: text.to_owned(), message };
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| error(format!("expected name=value, got `{item}`")))?;
            let value = Value::parse(value.trim()).map_err(error)?;
            options.values.insert(name.trim().to_owned(), value);
        }
        Ok(options)
    }
}

/// Splits at a separator that is in no bracket, brace, parenthesis or quotation.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, symbol) in text.char_indices() {
        match symbol {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth -= 1,
            _ if symbol == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + symbol.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Hands the options to a loss that is being made, and notes which ones it knows.
#[derive(Debug)]
pub struct Reader<'a> {
    loss: &'a str,
    options: &'a Options,
    known: RefCell<Vec<(String, String)>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(loss: &'a str, options: &'a Options) -> Self {
        Reader { loss, options, known: RefCell::default() }
    }

    /// Replaces `value`, which is the default, if the option is given.
    ///
    /// # Errors
    ///
    /// A value of another type.
    pub fn read<T: OptionType>(&self, name: &str, value: &mut T) -> Result<()> {
        self.known.borrow_mut().push((name.to_owned(), value.show()));
        let Some(given) = self.options.values.get(name) else { return Ok(()) };
        *value = T::read(given, self.options.device).ok_or_else(|| LossError::OptionValue {
            loss: self.loss.to_owned(),
            option: name.to_owned(),
            expected: T::expected(),
            got: given.to_string(),
        })?;
        Ok(())
    }

    /// Name and default of each option that was read.
    pub(super) fn known(&self) -> Ref<'_, Vec<(String, String)>> {
        self.known.borrow()
    }

    /// An error if an option was given that the loss did not read.
    pub(crate) fn finish<T>(&self, made: T) -> Result<T> {
        let known = self.known();
        let strange = |name: &String| !known.iter().any(|(known, _)| known == name);
        match self.options.values.keys().find(|name| strange(name)) {
            None => Ok(made),
            Some(option) => Err(LossError::OptionName {
                loss: self.loss.to_owned(),
                option: option.clone(),
                known: known.iter().map(|(name, _)| name.clone()).collect(),
            }),
        }
    }
}

/// A type that an option can have.
pub trait OptionType: Sized {
    /// What a value must be, for an error: `a number`.
    fn expected() -> String;
    /// The value as this type, or none if it is of another; tensors are put on `device`.
    fn read(value: &Value, device: Device) -> Option<Self>;
    /// The text that [`OptionType::read`] would read.
    fn show(&self) -> String;
}

impl OptionType for f64 {
    fn expected() -> String {
        "a number".to_owned()
    }

    fn read(value: &Value, _: Device) -> Option<Self> {
        match value {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(), // inf and nan, which JSON does not know
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self.abs() {
            small if small != 0.0 && !(1e-4..1e6).contains(&small) => format!("{self:e}"),
            _ => self.to_string(),
        }
    }
}

impl OptionType for i64 {
    fn expected() -> String {
        "an integer".to_owned()
    }

    fn read(value: &Value, _: Device) -> Option<Self> {
        match value {
            Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Some(*number as i64)
            }
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl OptionType for usize {
    fn expected() -> String {
        "a whole number".to_owned()
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        i64::read(value, device)?.try_into().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl OptionType for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value, _: Device) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: OptionType> OptionType for Option<T> {
    fn expected() -> String {
        format!("{} or none", T::expected())
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        match value {
            Value::None => Some(None),
            value => T::read(value, device).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or("none".to_owned(), T::show)
    }
}

impl<T: OptionType> OptionType for Vec<T> {
    fn expected() -> String {
        format!("a list, each {}", T::expected())
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        match value {
            Value::List(values) => values.iter().map(|value| T::read(value, device)).collect(),
            single => T::read(single, device).map(|single| vec![single]),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

impl OptionType for Tensor {
    fn expected() -> String {
        "a number or a list of numbers".to_owned()
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        fn flatten(value: &Value, depth: usize, size: &mut Vec<i64>, flat: &mut Vec<f64>) -> bool {
            match value {
                Value::Number(number) => {
                    flat.push(*number);
                    depth == size.len()
                }
                Value::List(values) => {
                    let length = values.len() as i64;
                    if flat.is_empty() && depth == size.len() {
                        size.push(length);
                    }
                    size.get(depth) == Some(&length)
                        && values.iter().all(|value| flatten(value, depth + 1, size, flat))
                }
                _ => false,
            }
        }
        let (mut size, mut flat) = (Vec::new(), Vec::new());
        if !flatten(value, 0, &mut size, &mut flat) {
            return None;
        }
        Tensor::f_from_slice(&flat).ok()?.f_view(size.as_slice()).ok()?.f_to_device(device).ok()
    }

    fn show(&self) -> String {
        format!("a tensor of shape {:?}", self.size())
    }
}

impl OptionType for Kept {
    fn expected() -> String {
        Tensor::expected()
    }

    fn read(value: &Value, device: Device) -> Option<Self> {
        Tensor::read(value, device).map(Kept)
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// Makes an enum of plain variants an option that is given by a word.
macro_rules! option_enum {
    ($type:ty { $($variant:path => $word:literal),+ $(,)? }) => {
        impl $crate::loss::OptionType for $type {
            fn expected() -> String {
                [$($word),+].join(", ")
            }

            fn read(value: &$crate::loss::Value, _: tch::Device) -> Option<Self> {
                match value.to_string().as_str() { $($word => Some($variant),)+ _ => None }
            }

            fn show(&self) -> String {
                #[allow(unreachable_patterns)] // an enum of others' may have more variants
                match self { $($variant => $word.to_owned(),)+ other => format!("{other:?}") }
            }
        }
    };
}
pub(crate) use option_enum;

option_enum!(Reduction {
    Reduction::Mean => "mean",
    Reduction::Sum => "sum",
    Reduction::None => "none",
});
option_enum!(MeanOver { MeanOver::Weights => "weights", MeanOver::Elements => "elements" });
