//! The front pages name every loss.

use std::{fs, path::Path};
use tch_losses::loss;

#[test]
fn readme_and_front_page_name_every_loss() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["README.md", "src/lib.rs"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let missing: Vec<_> = loss::catalogue()
            .into_iter()
            .map(|entry| entry.type_name)
            .filter(|name| {
                !text.contains(&format!("`{name}`")) && !text.contains(&format!("::{name}`"))
            })
            .collect();
        assert!(missing.is_empty(), "{page} lacks {missing:?}");
    }
}
