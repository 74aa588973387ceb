//! Names of users, for messages.

use std::fs;

/// The user with this id, as a part of a sentence.
pub(crate) fn named(user: u32) -> String {
    // Only for a message, so users that are not in this file are shown by number.
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    match name_in(&known, user) {
        Some(name) => format!("the user {name}"),
        None => format!("the user with the number {user}"),
    }
}

fn name_in(passwd: &str, user: u32) -> Option<&str> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(user) && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_that_the_system_knows() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:7:7::/:\ntnet:x:998:998::/:/bin/false\n";
        assert_eq!(name_in(passwd, 998), Some("tnet"));
        for unknown in [7, 998_998] {
            assert_eq!(name_in(passwd, unknown), None, "{unknown}");
        }
    }
}
