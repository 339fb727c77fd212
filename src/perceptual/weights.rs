//! Weights of networks from safetensors files, checked in full.

use crate::{LossError, Result};
use std::{collections::BTreeMap, path::Path};
use tch::{Kind, Tensor, nn::VarStore, no_grad};

const NAME: &str = "weights";
/// How many names of a kind an error lists.
const LISTED: usize = 4;

/// Fills the variables of `vs` from a safetensors file.
///
/// The file must hold every variable in its shape and in a floating-point kind; the variables keep
/// their own kind and device. What else the file holds is an error too, unless it is of deeper
/// layers than the network has (`rest` true). Nothing is changed where something is wrong.
///
/// # Errors
///
/// A file that is not there (the error names the command that makes it) or no safetensors file;
/// variables that are missing, left over, or of another shape or kind.
///
/// # Differences
///
/// `VarStore::load` broadcasts a tensor of another shape, takes over the file's kind, and leaves
/// alone what the file has too much.
pub fn f_load(vs: &mut VarStore, path: impl AsRef<Path>, rest: bool) -> Result<()> {
    let path = path.as_ref();
    let error =
        |message: String| LossError::Other(format!("{NAME}: {}: {message}", path.display()).into());
    if !path.is_file() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return Err(error(format!(
            "there is no such file; make it with: python scripts/export_weights.py {name}"
        )));
    }
    let stored = Tensor::read_safetensors(path).map_err(|source| error(source.to_string()))?;
    let mut stored: BTreeMap<String, Tensor> = stored.into_iter().collect();
    let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();

    let mut wrong = Vec::new();
    let mut found = Vec::with_capacity(variables.len());
    let mut missing = Vec::new();
    for (name, variable) in variables {
        let Some(tensor) = stored.remove(&name) else {
            missing.push(name);
            continue;
        };
        let kind = tensor.f_kind()?;
        if tensor.size() != variable.size() {
            wrong.push(format!("{name} is {:?}, not {:?}", tensor.size(), variable.size()));
        } else if !matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
            wrong.push(format!("{name} is of {kind:?} kind"));
        }
        found.push((variable, tensor));
    }
    let left: Vec<String> = if rest { Vec::new() } else { stored.into_keys().collect() };
    let parts: Vec<String> =
        [("lacks", &missing), ("has too much:", &left), ("is wrong in", &wrong)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what} {}", listed(names)))
            .collect();
    if !parts.is_empty() {
        return Err(error(format!("the file {}", parts.join("; it "))));
    }
    no_grad(|| {
        for (mut variable, tensor) in found {
            variable.f_copy_(&tensor)?;
        }
        Ok(())
    })
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
