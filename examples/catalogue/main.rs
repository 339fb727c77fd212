//! Prints every loss of the crate: name, what it takes, whom it follows, options with defaults.

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples_support::failure::Failure;
use serde_json::json;
use std::{
    fmt::{self, Write as _},
    io::{self, ErrorKind, Write as _},
};
use tch_losses::loss::{Entry, Registry};

/// Lists the losses that can be made by name, with their options and defaults.
#[derive(Debug, Parser)]
#[command(name = "catalogue")]
struct Cli {
    /// Only losses with this in a name, a module, or what they follow
    filter: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Failure> {
    let text = listed(&Cli::parse())?;
    match io::stdout().write_all(text.as_bytes()) {
        // Of `catalogue | head`, for example.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written.context("cannot write")?),
    }
}

fn listed(cli: &Cli) -> Result<String> {
    let registry = Registry::default();
    let wanted = cli.filter.as_deref().unwrap_or_default().to_lowercase();
    let found: Vec<&Entry> =
        registry.entries().iter().filter(|entry| matches(entry, &wanted)).collect();
    if found.is_empty() {
        // The error of a wrong name lists names like it.
        registry.by_name(&wanted, &Default::default())?;
        bail!("no loss has `{wanted}` in its names");
    }
    if cli.json {
        let objects: Vec<_> = found.iter().map(|entry| object(entry)).collect();
        return Ok(serde_json::to_string_pretty(&objects)? + "\n");
    }
    let (mut text, mut module) = (String::new(), "");
    for entry in &found {
        if entry.module != module {
            module = &entry.module;
            writeln!(text, "\n{module}")?;
        }
        show(entry, &mut text)?;
    }
    writeln!(
        text,
        "\n{} names; loss::parse also makes sums of them: \"soft_dice_nnunet + 0.5*ce\"",
        found.len()
    )?;
    Ok(text)
}

fn matches(entry: &Entry, wanted: &str) -> bool {
    let texts = [&entry.name, &entry.type_name, &entry.module, &entry.follows];
    texts.into_iter().chain(&entry.aliases).any(|text| text.to_lowercase().contains(wanted))
}

fn takes(entry: &Entry) -> String {
    match entry.takes {
        Some((input, target)) => format!("{input:?}, {target:?}"),
        None if entry.is_pair() => {
            "scores of real and of generated samples: a pair, by gan_by_name".to_owned()
        }
        None => "not by name".to_owned(),
    }
}

fn show(entry: &Entry, text: &mut String) -> fmt::Result {
    writeln!(text, "  {:<28} {:<32} {}", entry.name, entry.type_name, entry.follows)?;
    let options: Vec<String> =
        entry.options().into_iter().map(|(name, default)| format!("{name}={default}")).collect();
    writeln!(text, "      takes    {}", takes(entry))?;
    if !options.is_empty() {
        writeln!(text, "      options  {}", options.join(", "))?;
    }
    if !entry.aliases.is_empty() {
        writeln!(text, "      also     {}", entry.aliases.join(", "))?;
    }
    Ok(())
}

fn object(entry: &Entry) -> serde_json::Value {
    let options: serde_json::Map<_, _> =
        entry.options().into_iter().map(|(name, default)| (name, json!(default))).collect();
    json!({
        "name": entry.name,
        "type": entry.type_name,
        "module": entry.module,
        "follows": entry.follows,
        "takes": takes(entry),
        "aliases": entry.aliases,
        "options": options,
    })
}
