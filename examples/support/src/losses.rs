//! Losses as they are written on a command line.

/// Splits a list of losses at the commas outside parentheses and brackets.
pub fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for symbol in text.chars() {
        match symbol {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(symbol);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A loss as the name of a folder or file.
pub fn file_name(loss: &str) -> String {
    let kept = |symbol: char| symbol.is_alphanumeric() || "+-_.=".contains(symbol);
    let name: String = loss.chars().filter(|c| !c.is_whitespace()).collect();
    let name = name.replace('*', "x");
    name.chars()
        .map(|c| if kept(c) { c } else { '-' })
        .collect::<String>()
        .trim_matches('-')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_split_at_commas_outside_parentheses() {
        let losses = split("ce, dice + ce,tversky(alpha=0.3, beta=0.7) ,ce(weight=[1, 2])");
        assert_eq!(
            losses,
            ["ce", "dice + ce", "tversky(alpha=0.3, beta=0.7)", "ce(weight=[1, 2])"]
        );
        assert_eq!(split(" "), Vec::<String>::new());
    }

    #[test]
    fn losses_name_their_files() {
        assert_eq!(file_name("dice + 0.5*ce"), "dice+0.5xce");
        assert_eq!(file_name("tversky(alpha=0.3, beta=0.7)"), "tversky-alpha=0.3-beta=0.7");
    }
}
