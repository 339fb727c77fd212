//! Losses by name: every loss is there, with its own defaults, and mistakes are named.

mod common;

use common::{assert_value, device, tensor};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use tch::{Device, Tensor};
use tch_losses::{
    FnLoss, Loss, LossError,
    loss::{self, Entry, Options, Registry},
};

fn error<T: std::fmt::Debug>(result: Result<T, LossError>) -> String {
    result.unwrap_err().to_string()
}

/// The types that a source file makes a loss of.
fn losses_of(source: &str) -> Vec<String> {
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        text[..end].to_owned()
    };
    source
        .lines()
        .filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("weighted_loss!(").or_else(|| line.strip_prefix("impl Loss for "))
        })
        .map(word)
        .filter(|name| !name.is_empty()) // a macro's `$loss`
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.extend(losses_of(&fs::read_to_string(&path).unwrap())),
        }
    }
}

#[test]
fn every_loss_of_the_crate_is_in_the_catalogue() {
    let mut types = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut types);
    assert!(types.len() > 5, "{types:?}");
    let listed: BTreeSet<String> =
        loss::catalogue().into_iter().map(|entry| entry.type_name).collect();
    // Made of other losses, which a text can say too.
    let combinators = ["WeightedSum", "FnLoss"];
    let left: Vec<_> = types
        .iter()
        .filter(|name| !listed.contains(*name) && !combinators.contains(&name.as_str()))
        .collect();
    assert!(left.is_empty(), "not in the catalogue: {left:?}");
}

#[test]
fn every_entry_is_found_under_each_of_its_names_and_says_what_it_follows() {
    let registry = Registry::default();
    let mut owners = BTreeMap::new();
    for entry in registry.entries() {
        assert!(!entry.follows.is_empty(), "{}", entry.name);
        assert!(entry.module.starts_with("tch_losses::"), "{}: {}", entry.name, entry.module);
        assert_eq!(registry.find(&entry.name).unwrap().name, entry.name);
        for alias in &entry.aliases {
            let found = &registry.find(alias).unwrap().name;
            assert_eq!(found, &entry.name, "{alias} is another loss's name too");
            let before = owners.insert(alias.clone(), &entry.name);
            assert!(before.is_none(), "{alias} belongs to {before:?} too");
        }
        // The type's name leads to the type.
        let found = registry.find(&entry.type_name).unwrap();
        assert_eq!(found.type_name, entry.type_name);
    }
}

#[test]
fn the_defaults_shown_are_the_defaults() {
    for entry in loss::catalogue() {
        if entry.takes.is_none() {
            let refused = error(loss::by_name(&entry.name, &Options::new()));
            assert!(refused.contains(&entry.type_name), "{refused}");
            continue;
        }
        let plain = loss::by_name(&entry.name, &Options::new()).unwrap();
        for (option, default) in entry.options() {
            if default.starts_with("a tensor") {
                continue;
            }
            let text = format!("{option}={default}");
            let said = loss::by_name(&entry.name, &text.parse().unwrap())
                .unwrap_or_else(|error| panic!("{}({text}): {error}", entry.name));
            assert_eq!(format!("{said:?}"), format!("{plain:?}"), "{}({text})", entry.name);
        }
    }
}

#[test]
fn spelling_makes_no_difference() {
    let names = ["cross_entropy", "CrossEntropyLoss", "torch.nn.CrossEntropyLoss", "Cross-Entropy"];
    for name in names {
        let made = loss::by_name(name, &Options::new()).unwrap();
        assert!(format!("{made:?}").starts_with("CrossEntropyLoss"), "{name}: {made:?}");
    }
}

#[test]
fn options_reach_the_loss() {
    let logits = tensor(&[0.3, -1.2, 0.8, 2.0, -0.4, 0.1], &[2, 3]);
    let target = common::index(&[2, 0], &[2]);
    let options = Options::new().set("label_smoothing", 0.2).set("weight", vec![1.0, 2.0, 3.0]);
    let named = loss::by_name("ce", &options.set("reduction", "sum").device(device())).unwrap();
    let made = tch_losses::CrossEntropyLoss::default()
        .label_smoothing(0.2)
        .weight(tensor(&[1.0, 2.0, 3.0], &[3]))
        .reduction(tch_losses::Reduction::Sum);
    let expected = made.forward(&logits, &target).double_value(&[]);
    assert_value("by name", &named.forward(&logits, &target), expected, 1e-12);
    let text = r#"{"label_smoothing": 0.2, "weight": [1, 2, 3], "reduction": "sum"}"#;
    let json = Options::from_json(text).unwrap().device(device());
    let named = loss::by_name("ce", &json).unwrap();
    assert_value("from JSON", &named.forward(&logits, &target), expected, 1e-12);
}

#[test]
fn a_text_is_the_sum_it_says() {
    let logits = tensor(&[0.3, -1.2, 0.8], &[3]);
    let target = tensor(&[1.0, 0.0, 1.0], &[3]);
    let value = |text: &str| {
        loss::parse(text, device()).unwrap().forward(&logits, &target).double_value(&[])
    };
    let (bce, focal) = (value("bce_with_logits"), value("focal(gamma=1.5, alpha=none)"));
    let sum = value("bce_with_logits + 0.5*focal(gamma=1.5, alpha=none)+ 2 * focal_yolov5()");
    assert!((sum - (bce + 0.5 * focal + 2.0 * value("focal_yolov5"))).abs() < 1e-12);
    assert!((value("0.25*bce_with_logits") - 0.25 * bce).abs() < 1e-12);
}

#[test]
fn mistakes_are_named() {
    let by_name = |name: &str, options: &str| {
        error(options.parse::<Options>().and_then(|options| loss::by_name(name, &options)))
    };
    let said = by_name("foacl", "");
    assert!(said.starts_with("there is no loss named `foacl`; did you mean focal"), "{said}");
    assert_eq!(
        by_name("qqqqqqqq", ""),
        "there is no loss named `qqqqqqqq`; loss::catalogue() lists all"
    );
    assert_eq!(
        by_name("softmax_focal", "gama=2"),
        "softmax_focal: no option `gama`; there are gamma, alpha, ignore_index, reduction"
    );
    assert_eq!(by_name("focal", "gamma=two"), "focal: expected gamma to be a number, got two");
    assert_eq!(
        by_name("focal", "reduction=avg"),
        "focal: expected reduction to be mean, sum, none, got avg"
    );
    assert_eq!(
        by_name("softmax_focal", "ignore_index=1.5"),
        "softmax_focal: expected ignore_index to be an integer, got 1.5"
    );
    assert_eq!(
        by_name("focal", "alpha=[1, 2]"),
        "focal: expected alpha to be a number or none, got [1, 2]"
    );
    assert_eq!(
        by_name("ce", "weight=[[1, 2], [3]]"),
        "cross_entropy: expected weight to be a number or a list of numbers or none, got [[1, 2], [3]]"
    );
    assert!(by_name("focal", "gamma").contains("expected name=value, got `gamma`"));
    assert!(by_name("focal", "alpha=[1, 2").contains("cannot read `alpha=[1, 2`"));
    assert!(error(Options::from_json("[1]")).starts_with("cannot read `[1]`"));
    assert!(error(Options::from_json(r#"{"a": {}}"#)).ends_with("a is an object"));

    let parse = |text: &str| error(loss::parse(text, Device::Cpu));
    assert_eq!(parse("ce + "), "cannot read `ce + `: expected the name of a loss");
    assert_eq!(parse("x*ce"), "cannot read `x*ce`: expected a number before *, got `x`");
    assert!(parse("ce(weight=[1]").contains("has no ) at its end"));
    assert!(parse("2*3*ce").contains("more than one *"));
    assert!(parse("yolo_v5").contains("tch_losses::detection::YoloV5Loss"));
}

#[test]
fn a_closure_registers_and_is_used_the_same_way() {
    let scale = 3.0;
    let entry = Entry::new("my_huber", move |options| {
        let mut delta = 1.0;
        options.read("delta", &mut delta)?;
        Ok(Box::new(FnLoss::new("my_huber", move |input: &Tensor, target: &Tensor| {
            Ok(input.f_huber_loss(target, tch::Reduction::Mean, delta)?.f_mul_scalar(scale)?)
        })))
    });
    let mut registry = Registry::default();
    registry.register(entry.clone()).unwrap();
    assert_eq!(registry.find("MyHuberLoss").unwrap().options(), [("delta".into(), "1".into())]);
    let loss = registry.parse("2*my_huber(delta=0.5)", device()).unwrap();
    let value = loss.forward(&tensor(&[2.0], &[1]), &tensor(&[0.0], &[1]));
    assert_value("2 * 3 * huber", &value, 2.0 * 3.0 * 0.5 * (2.0 - 0.25), 1e-12);

    assert!(error(registry.register(entry)).contains("`my_huber`"));
    let taken = Entry::new("Focal-Loss", |_| Ok(Box::new(tch_losses::FocalLoss::default())));
    assert!(error(registry.register(taken)).contains("a loss of that name is there already"));
    let strange = error(registry.by_name("my_huber", &Options::new().set("detla", 1.0)));
    assert_eq!(strange, "my_huber: no option `detla`; there are delta");
}
