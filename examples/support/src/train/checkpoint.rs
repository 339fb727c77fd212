use crate::files;
use anyhow::{Context, Result, bail};
use std::path::Path;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad_guard};

/// The variables of a network, sorted by name.
pub fn named(vs: &VarStore) -> Vec<(String, Tensor)> {
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}

/// Copies saved tensors into those of the same names; names, shapes and kinds must be the same.
pub fn copy_into(places: &mut [(String, Tensor)], saved: &[(String, Tensor)]) -> Result<()> {
    let find = |name: &str| saved.iter().find(|(saved, _)| saved == name).map(|(_, t)| t);
    for (name, place) in places.iter() {
        let Some(tensor) = find(name) else { bail!("`{name}` is missing") };
        if tensor.size() != place.size() || tensor.kind() != place.kind() {
            bail!(
                "`{name}` is {:?} {:?}, and this network needs {:?} {:?}",
                tensor.kind(),
                tensor.size(),
                place.kind(),
                place.size()
            );
        }
    }
    if let Some((extra, _)) = saved.iter().find(|(name, _)| !places.iter().any(|p| &p.0 == name)) {
        bail!("`{extra}` has no place in this network");
    }
    let _guard = no_grad_guard();
    for (name, place) in places {
        place.copy_(find(name).expect("checked"));
    }
    Ok(())
}

/// Groups of named tensors and a text (JSON, say), in one safetensors file.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// What the tensors are for.
    pub text: String,
    tensors: Vec<(String, Tensor)>,
}

const TEXT: &str = "text";

impl Checkpoint {
    /// A checkpoint of no tensors yet.
    pub fn new(text: String) -> Self {
        Checkpoint { text, tensors: Vec::new() }
    }

    /// Adds tensors under `group`.
    pub fn with(mut self, group: &str, tensors: Vec<(String, Tensor)>) -> Self {
        let renamed = tensors.into_iter().map(|(name, tensor)| {
            (format!("{group}/{name}"), tensor.detach().to_device(Device::Cpu).contiguous())
        });
        self.tensors.extend(renamed);
        self
    }

    /// The tensors of `group`, without its name; an error if there are none.
    pub fn group(&self, group: &str) -> Result<Vec<(String, Tensor)>> {
        let prefix = format!("{group}/");
        let of_group: Vec<_> = self
            .tensors
            .iter()
            .filter_map(|(name, tensor)| {
                Some((name.strip_prefix(&prefix)?.to_owned(), tensor.shallow_clone()))
            })
            .collect();
        if of_group.is_empty() {
            bail!("it holds no `{group}`");
        }
        Ok(of_group)
    }

    /// Writes the file atomically.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = Tensor::from_slice(self.text.as_bytes());
        let mut tensors = vec![(TEXT, text)];
        tensors.extend(self.tensors.iter().map(|(name, t)| (name.as_str(), t.shallow_clone())));
        files::write_with(path, |temporary| Ok(Tensor::write_safetensors(&tensors, temporary)?))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file that [`Checkpoint::save`] wrote.
    pub fn load(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            if !path.exists() {
                bail!("no such file");
            }
            let mut tensors = Tensor::read_safetensors(path)?;
            let text = tensors.iter().position(|(name, t)| name == TEXT && t.kind() == Kind::Uint8);
            let Some(text) = text else { bail!("it is no checkpoint of these examples") };
            let (_, text) = tensors.swap_remove(text);
            Ok(Checkpoint { text: String::from_utf8(Vec::<u8>::try_from(text)?)?, tensors })
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_saved() {
        let folder = std::env::temp_dir().join(format!("checkpoint-{}", std::process::id()));
        let path = folder.join("a.safetensors");
        let weights = vec![("w".to_owned(), Tensor::from_slice(&[1f32, 2.0]))];
        Checkpoint::new("{}".into()).with("model", weights).save(&path).unwrap();
        let loaded = Checkpoint::load(&path).unwrap();
        assert_eq!(loaded.text, "{}");
        let mut place = [("w".to_owned(), Tensor::zeros([2], (Kind::Float, Device::Cpu)))];
        copy_into(&mut place, &loaded.group("model").unwrap()).unwrap();
        assert_eq!(place[0].1, Tensor::from_slice(&[1f32, 2.0]));
        assert!(loaded.group("optimiser").unwrap_err().to_string().contains("holds no"));

        let mut wrong = [("w".to_owned(), Tensor::zeros([1], (Kind::Float, Device::Cpu)))];
        let error = copy_into(&mut wrong, &loaded.group("model").unwrap()).unwrap_err().to_string();
        assert!(error.contains("needs Float [1]"), "{error}");
        std::fs::write(&path, b"half a file").unwrap();
        assert!(Checkpoint::load(&path).unwrap_err().to_string().contains("cannot read"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
