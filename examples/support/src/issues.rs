//! What is malformed in a user's data.

use std::{
    fmt::{self, Write as _},
    path::PathBuf,
};

/// Something malformed in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The file it is in.
    pub file: PathBuf,
    /// Its line, from 1; none where the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// The first twenty issues, one a line, and how many more there are.
pub fn list(issues: &[Issue]) -> String {
    let head = match issues.len() {
        1 => "1 thing is malformed:".to_owned(),
        n => format!("{n} things are malformed:"),
    };
    lines(head, issues)
}

/// As [`list`], of files that were left out while `done` others were evaluated.
pub fn left_out(issues: &[Issue], done: usize) -> String {
    let head = match issues.len() {
        1 => format!("1 file was left out, and {done} evaluated:"),
        n => format!("{n} files were left out, and {done} evaluated:"),
    };
    lines(head, issues)
}

fn lines(mut text: String, issues: &[Issue]) -> String {
    const SHOWN: usize = 20;
    for issue in issues.iter().take(SHOWN) {
        let _ = write!(text, "\n  {issue}");
    }
    if issues.len() > SHOWN {
        let _ = write!(text, "\n  and {} more", issues.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let issue = |line| Issue { file: "a.txt".into(), line, message: "wrong".to_owned() };
        assert_eq!(list(&[issue(None)]), "1 thing is malformed:\n  a.txt: wrong");
        let text = left_out(&[issue(None)], 3);
        assert_eq!(text, "1 file was left out, and 3 evaluated:\n  a.txt: wrong");
        let text = list(&vec![issue(Some(3)); 22]);
        assert!(text.starts_with("22 things are malformed:\n  a.txt:3: wrong\n"), "{text}");
        assert!(text.ends_with("\n  and 2 more") && text.lines().count() == 22, "{text}");
    }
}
