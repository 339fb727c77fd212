//! Losses by name.

use super::{
    Loss, Options, WeightedSum,
    options::{Reader, split},
};
use crate::{LossError, Result, adversarial::GanLoss};
use std::{fmt, rc::Rc};
use tch::Device;

/// What a loss takes its input for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Logits of classes along dimension 1, of which one is right.
    Logits,
    /// Logits of which each stands for itself.
    BinaryLogits,
    /// Probabilities of classes along dimension 1, which sum to 1.
    Probabilities,
    /// Probabilities of which each stands for itself.
    BinaryProbabilities,
    /// Logarithms of the probabilities of classes along dimension 1.
    LogProbabilities,
    /// Margins: the sign is the decision.
    Scores,
    /// Real values.
    Values,
    /// Boxes, a row each.
    Boxes,
    /// Images (N, C, H, W).
    Images,
    /// Embeddings, a row each.
    Embeddings,
}

/// What a loss takes its target for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Class indices: the input's shape without dimension 1.
    Index,
    /// Class indices, or one-hot or soft classes of the input's shape.
    IndexOrDense,
    /// The input's shape: values, probabilities, zeros and ones.
    Dense,
    /// -1 or 1 in the input's shape.
    Sign,
}

type Make = dyn Fn(&Reader) -> Result<Option<Box<dyn Loss>>>;
type MakePair = dyn Fn(&Reader) -> Result<Box<dyn GanLoss>>;

/// A loss that can be made by its name.
///
/// # Examples
///
/// A loss of one's own, with an option and a captured parameter:
///
/// ```
/// use tch::{Reduction, Tensor};
/// use tch_losses::loss::{Entry, FnLoss, Options, Registry};
///
/// let scale = 2.0;
/// let entry = Entry::new("scaled_huber", move |options| {
///     let mut delta = 1.0;
///     options.read("delta", &mut delta)?;
///     Ok(Box::new(FnLoss::new("scaled_huber", move |input: &Tensor, target: &Tensor| {
///         Ok(input.f_huber_loss(target, Reduction::Mean, delta)? * scale)
///     })))
/// });
/// let mut registry = Registry::default();
/// registry.register(entry)?;
/// let loss = registry.by_name("scaled_huber", &Options::new().set("delta", 0.5))?;
/// let value = loss.forward(&Tensor::from(2.0f64), &Tensor::from(0.0f64));
/// assert_eq!(value.double_value(&[]), 2.0 * 0.5 * (2.0 - 0.25));
/// # Ok::<(), tch_losses::LossError>(())
/// ```
#[derive(Clone)]
pub struct Entry {
    /// The name in this crate's spelling: `smooth_l1`.
    pub name: String,
    /// Other names, such as Keras'.
    pub aliases: Vec<String>,
    /// The type: `SmoothL1Loss`.
    pub type_name: String,
    /// Where it is: `tch_losses::regression`.
    pub module: String,
    /// Which package it gives the numbers of.
    pub follows: String,
    /// What it takes, if it is a [`Loss`] that can be made by name.
    pub takes: Option<(Input, Target)>,
    make: Rc<Make>,
    pair: Option<Rc<MakePair>>,
}

impl Entry {
    /// A loss that `make` makes; what `make` reads of the options are the loss's options.
    pub fn new(
        name: impl Into<String>,
        make: impl Fn(&Reader) -> Result<Box<dyn Loss>> + 'static,
    ) -> Self {
        Entry {
            name: name.into(),
            aliases: Vec::new(),
            type_name: "FnLoss".to_owned(),
            module: "custom".to_owned(),
            follows: String::new(),
            takes: Some((Input::Values, Target::Dense)),
            make: Rc::new(move |options| make(options).map(Some)),
            pair: None,
        }
    }

    /// A pair of objectives, of a discriminator and a generator, for
    /// [`gan_by_name`](crate::adversarial::gan_by_name).
    pub fn pair(name: &str, make: impl Fn(&Reader) -> Result<Box<dyn GanLoss>> + 'static) -> Self {
        let pair = Rc::new(make);
        let describe = pair.clone();
        Entry { pair: Some(pair), ..Entry::apart(name, move |options| describe(options).map(drop)) }
    }

    /// Whether it is a pair of objectives rather than a loss.
    pub fn is_pair(&self) -> bool {
        self.pair.is_some()
    }

    /// What is listed with the losses and takes something else than an input and a target;
    /// `describe` reads its options.
    pub(crate) fn apart(name: &str, describe: impl Fn(&Reader) -> Result<()> + 'static) -> Self {
        let make: Rc<Make> = Rc::new(move |options| describe(options).map(|()| None));
        Entry { takes: None, make, ..Entry::new(name, |_| unreachable!("replaced by `describe`")) }
    }

    /// Other names.
    pub fn aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        self
    }

    /// Which package it gives the numbers of.
    pub fn follows(mut self, follows: &str) -> Self {
        self.follows = follows.to_owned();
        self
    }

    /// What it takes; values and values of the same shape by default.
    pub fn takes(mut self, input: Input, target: Target) -> Self {
        self.takes = Some((input, target));
        self
    }

    pub(crate) fn of_type(mut self, type_name: &str, module: &str) -> Self {
        self.type_name = type_name.to_owned();
        self.module = public(module);
        self
    }

    /// Name and default of each option.
    pub fn options(&self) -> Vec<(String, String)> {
        let none = Options::new();
        let reader = Reader::new(&self.name, &none);
        // Without options there is nothing to refuse; what is made is not wanted.
        let _ = (self.make)(&reader);
        let known = reader.known();
        known.clone()
    }

    fn build(&self, options: &Options) -> Result<Box<dyn Loss>> {
        let reader = Reader::new(&self.name, options);
        match (self.make)(&reader)? {
            Some(loss) => reader.finish(loss),
            None => Err(LossError::Apart {
                name: self.name.clone(),
                make: match self.is_pair() {
                    true => format!("{}::{} or gan_by_name", self.module, self.type_name),
                    false => format!("{}::{}", self.module, self.type_name),
                },
            }),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.name, &self.type_name]
            .into_iter()
            .filter(|name| *name != "FnLoss")
            .chain(&self.aliases)
            .map(String::as_str)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("aliases", &self.aliases)
            .field("type_name", &self.type_name)
            .field("module", &self.module)
            .field("follows", &self.follows)
            .field("takes", &self.takes)
            .field("options", &self.options())
            .finish_non_exhaustive()
    }
}

/// The module as users see it: a file of a room is private.
fn public(module: &str) -> String {
    module.split("::").take(2).collect::<Vec<_>>().join("::")
}

/// What names have in common however they are spelled: `torch.nn.SmoothL1Loss`, `smooth_l1`.
fn plain(name: &str) -> String {
    let last = name.rsplit(['.', ':']).next().unwrap_or(name);
    let letters: String = last
        .chars()
        .filter(|symbol| symbol.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match letters.strip_suffix("loss") {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => letters,
    }
}

/// Losses by name: those of this crate, and the caller's own.
#[derive(Debug, Clone)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Default for Registry {
    /// The losses of this crate.
    fn default() -> Self {
        Registry { entries: super::catalogue() }
    }
}

impl Registry {
    /// Adds a loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Parse`] if one of its names is taken.
    pub fn register(&mut self, entry: Entry) -> Result<()> {
        if let Some(taken) = entry.names().find(|name| self.find(name).is_some()) {
            return Err(LossError::Parse {
                text: taken.to_owned(),
                message: "a loss of that name is there already".to_owned(),
            });
        }
        self.entries.push(entry);
        Ok(())
    }

    /// All of them, in the order of the rooms of the crate.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a name or alias, however it is spelled.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let wanted = plain(name);
        let is = |candidate: &str| plain(candidate) == wanted;
        // Presets share their type's name, which is that of the first, the plain one.
        let by_own = self.entries.iter().find(|entry| is(&entry.name));
        by_own.or_else(|| self.entries.iter().find(|entry| entry.names().any(is)))
    }

    /// The loss of a name, with options.
    ///
    /// Names are those of this crate (`smooth_l1`), of PyTorch and of Keras; upper case,
    /// underscores, a path before and `Loss` at the end make no difference.
    ///
    /// # Errors
    ///
    /// An unknown name, with names like it; an option that the loss does not have, or of another
    /// type. The range of a value is checked when the loss is computed.
    pub fn by_name(&self, name: &str, options: &Options) -> Result<Box<dyn Loss>> {
        let entry = self
            .find(name)
            .ok_or_else(|| LossError::Name { name: name.to_owned(), near: self.near(name) })?;
        entry.build(options)
    }

    /// The pair of objectives of a name, with options; `gan` at its end may be left out.
    ///
    /// # Errors
    ///
    /// As [`Registry::by_name`]; names like an unknown one are those of pairs.
    pub fn gan_by_name(&self, name: &str, options: &Options) -> Result<Box<dyn GanLoss>> {
        let pairs: Vec<_> = self.entries.iter().filter(|entry| entry.is_pair()).cloned().collect();
        let pairs = Registry { entries: pairs };
        let long = format!("{name}_gan");
        let found = pairs.find(name).or_else(|| pairs.find(&long));
        let Some((entry, make)) = found.and_then(|entry| Some((entry, entry.pair.as_ref()?)))
        else {
            let near = pairs.near(if plain(name).contains("gan") { name } else { &long });
            return Err(LossError::Name { name: name.to_owned(), near });
        };
        let reader = Reader::new(&entry.name, options);
        reader.finish(make(&reader)?)
    }

    /// The loss that a text says: a name with options in parentheses, or a weighted sum of such.
    ///
    /// Class weights and other lists are put on `device`. See [`parse`].
    pub fn parse(&self, text: &str, device: Device) -> Result<Box<dyn Loss>> {
        let make = |term: &Term| self.by_name(&term.name, &term.options.clone().device(device));
        let terms = terms(text)?;
        if let [only] = &terms[..]
            && only.coefficient == 1.0
        {
            return make(only);
        }
        let mut sum = WeightedSum::new();
        for term in &terms {
            sum = sum.add(&term.name, term.coefficient, make(term)?);
        }
        Ok(Box::new(sum))
    }

    /// Up to three names like one that is not there.
    fn near(&self, name: &str) -> Vec<String> {
        let wanted = plain(name);
        let likeness = |entry: &Entry| {
            let of = |name: &str| {
                let name = plain(name);
                let within = wanted.len() > 2 && (name.contains(&wanted) || wanted.contains(&name));
                strsim::normalized_damerau_levenshtein(&name, &wanted).max(if within {
                    0.7
                } else {
                    0.0
                })
            };
            entry.names().map(of).fold(0.0, f64::max)
        };
        let mut near: Vec<_> =
            self.entries.iter().map(|entry| (likeness(entry), &entry.name)).collect();
        near.retain(|(likeness, _)| *likeness >= 0.5);
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(3).map(|(_, name)| name.clone()).collect()
    }
}

/// The loss of this crate with that name.
///
/// # Errors
///
/// As [`Registry::by_name`].
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::loss::{self, Options};
///
/// let focal = loss::by_name("focal", &"gamma=1.5, alpha=none".parse()?)?;
/// let ce = loss::by_name("torch.nn.CrossEntropyLoss", &Options::new().set("label_smoothing", 0.1))?;
/// let (logits, target) = (Tensor::from_slice(&[0.0f64]), Tensor::from_slice(&[1.0f64]));
/// let expected = 0.5f64.powf(1.5) * std::f64::consts::LN_2;
/// assert!((focal.forward(&logits, &target).double_value(&[]) - expected).abs() < 1e-12);
///
/// let error = loss::by_name("focl", &Options::new()).unwrap_err().to_string();
/// assert!(error.contains("did you mean focal"), "{error}");
/// # Ok::<(), tch_losses::LossError>(())
/// ```
pub fn by_name(name: &str, options: &Options) -> Result<Box<dyn Loss>> {
    Registry::default().by_name(name, options)
}

/// The loss that a text says: `focal(gamma=2)`, or a weighted sum such as
/// `soft_dice + 0.5*ce(label_smoothing=0.1)`.
///
/// Class weights and other lists are put on `device`.
///
/// # Errors
///
/// As [`by_name`]; a text that is no sum of losses.
///
/// # Examples
///
/// ```
/// use tch::{Device, Tensor};
/// use tch_losses::loss;
///
/// let loss = loss::parse("bce_with_logits + 0.5*focal(gamma=2, alpha=none)", Device::Cpu)?;
/// let value = loss.forward(&Tensor::from(0.0f64), &Tensor::from(1.0f64)).double_value(&[]);
/// assert!((value - (1.0 + 0.5 * 0.25) * std::f64::consts::LN_2).abs() < 1e-12);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
pub fn parse(text: &str, device: Device) -> Result<Box<dyn Loss>> {
    Registry::default().parse(text, device)
}

/// One term of a sum of losses.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// What its loss is multiplied with.
    pub coefficient: f64,
    /// The name of the loss as it was written.
    pub name: String,
    /// The options in the parentheses.
    pub options: Options,
}

/// The terms of the sum that [`parse`] makes of a text, for a caller who adds options or treats
/// some losses in another way.
///
/// # Errors
///
/// A text that is no sum of losses. Whether there are losses of these names is not looked at.
///
/// # Examples
///
/// ```
/// use tch_losses::loss;
///
/// let terms = loss::terms("dice + 0.5*ce(label_smoothing=0.1)")?;
/// assert_eq!((terms[1].coefficient, &terms[1].name[..]), (0.5, "ce"));
/// assert_eq!(terms[1].options, "label_smoothing=0.1".parse()?);
/// # Ok::<(), tch_losses::LossError>(())
/// ```
pub fn terms(text: &str) -> Result<Vec<Term>> {
    let error = |message| LossError::Parse { text: text.to_owned(), message };
    let term = |term: &str| {
        let (coefficient, call) = match split(term, '*')[..] {
            [call] => (1.0, call),
            [coefficient, call] => {
                let number = coefficient.trim();
                let wrong = |_| error(format!("expected a number before *, got `{number}`"));
                (number.parse().map_err(wrong)?, call)
            }
            _ => return Err(error(format!("more than one * in `{}`", term.trim()))),
        };
        let call = call.trim();
        let (name, options) = match call.split_once('(') {
            None => (call, ""),
            Some((name, rest)) => {
                let options = rest.strip_suffix(')');
                (
                    name.trim(),
                    options.ok_or_else(|| error(format!("`{call}` has no ) at its end")))?,
                )
            }
        };
        if name.is_empty() {
            return Err(error("expected the name of a loss".to_owned()));
        }
        Ok(Term { coefficient, name: name.to_owned(), options: options.parse()? })
    };
    split(text, '+').into_iter().map(term).collect()
}

/// Every loss of this crate, room by room; `cargo run --example catalogue` prints it.
pub fn catalogue() -> Vec<Entry> {
    [
        crate::regression::entries(),
        crate::classification::entries(),
        crate::segmentation::entries(),
        crate::detection::entries(),
        crate::adversarial::entries(),
        crate::perceptual::entries(),
        crate::metric_learning::entries(),
        crate::variational::entries(),
        crate::metrics::entries(),
    ]
    .concat()
}

/// Lists a loss in the catalogue: its name, what it takes, whom it follows, its options (fields of
/// the struct), other names and presets.
///
/// ```text
/// named_loss! {
///     FocalLoss: "focal", BinaryLogits => Dense, "torchvision `sigmoid_focal_loss`",
///     [gamma, alpha, reduction], aliases ["sigmoid_focal_loss"],
///     presets { "focal_yolov5" => FocalLoss::yolov5(), "YOLOv5 `FocalLoss`" }
/// }
/// ```
///
/// `..region` among the options, before the others, is a field with options of its own, which
/// its `read` reads. The name of the type need not be an alias. A preset that takes something else says so:
/// `"soft_dice_nnunet" (Logits => IndexOrDense) => ..`. Gives the type a function `entries`. What takes
/// something else than an input and a target says `apart` and a value to show the defaults of:
///
/// ```text
/// named_loss! { apart GradientPenalty: "gradient_penalty", "WGAN-GP", Self::default(), [lambda] }
/// ```
///
/// A pair of objectives ([`GanLoss`]) says `pair`, and may have presets too.
macro_rules! named_loss {
    (
        apart $loss:ident: $name:literal, $follows:literal, $made:expr,
        [$($option:ident),* $(,)?] $(, aliases [$($alias:literal),* $(,)?])? $(,)?
    ) => {
        impl $loss {
            pub(crate) fn entries() -> Vec<$crate::loss::Entry> {
                let entry = $crate::loss::Entry::apart($name, |_options| {
                    #[allow(unused_mut)]
                    let mut _loss = $made;
                    $(_options.read(stringify!($option), &mut _loss.$option)?;)*
                    Ok(())
                });
                let entry = entry.of_type(stringify!($loss), module_path!()).follows($follows);
                vec![entry$(.aliases(&[$($alias),*]))?]
            }
        }
    };
    (
        pair $loss:ident: $name:literal, $follows:literal, $options:tt
        $(, aliases [$($alias:literal),* $(,)?])?
        $(, presets {
            $($preset:literal => $made:expr, $preset_follows:literal, [$($other:literal),* $(,)?]);*
            $(;)?
        })?
        $(,)?
    ) => {
        impl $loss {
            pub(crate) fn entries() -> Vec<$crate::loss::Entry> {
                use $crate::loss::named_loss;
                vec![
                    named_loss!(@pair $loss, $name, $follows, <$loss>::default(), $options)
                        $(.aliases(&[$($alias),*]))?,
                    $($(named_loss!(@pair $loss, $preset, $preset_follows, $made, $options)
                        .aliases(&[$($other),*]),)*)?
                ]
            }
        }
    };
    (
        @pair $loss:ident, $name:expr, $follows:expr, $made:expr, [$($option:ident),* $(,)?]
    ) => {
        $crate::loss::Entry::pair($name, |_options| {
            let mut loss = $made;
            $(_options.read(stringify!($option), &mut loss.$option)?;)*
            Ok(Box::new(loss))
        })
        .of_type(stringify!($loss), module_path!())
        .follows($follows)
    };
    (
        $loss:ident: $name:literal, $input:ident => $target:ident, $follows:literal,
        $options:tt
        $(, aliases [$($alias:literal),* $(,)?])?
        $(, presets {
            $($preset:literal $(($preset_input:ident => $preset_target:ident))? =>
                $made:expr, $preset_follows:literal);* $(;)?
        })?
        $(,)?
    ) => {
        impl $loss {
            pub(crate) fn entries() -> Vec<$crate::loss::Entry> {
                use $crate::loss::named_loss;
                vec![
                    named_loss!(@entry $loss, $name, $input, $target, $follows, <$loss>::default(), $options)
                        $(.aliases(&[$($alias),*]))?,
                    $($(named_loss!(
                        @entry $loss, $preset, $input, $target, $preset_follows, $made, $options
                    )$(.takes(
                        $crate::loss::Input::$preset_input, $crate::loss::Target::$preset_target
                    ))?,)*)?
                ]
            }
        }
    };
    (
        @entry $loss:ident, $name:expr, $input:ident, $target:ident, $follows:expr, $made:expr,
        [$(..$shared:ident,)* $($option:ident),* $(,)?]
    ) => {
        $crate::loss::Entry::new($name, |_options| {
            #[allow(unused_mut)] // a loss may have no options
            let mut loss = $made;
            $(loss.$shared.read(_options)?;)*
            $(_options.read(stringify!($option), &mut loss.$option)?;)*
            Ok(Box::new(loss))
        })
        .of_type(stringify!($loss), module_path!())
        .follows($follows)
        .takes($crate::loss::Input::$input, $crate::loss::Target::$target)
    };
}
pub(crate) use named_loss;
