//! Random bits, as the inputs that the replica asks for.

use crate::id::ReplicaId;
use crate::protocol::client::Identity;

/// A fresh identity: 128 random bits in the name, behind `prefix`, and 128 in the secret.
pub(super) fn identity(prefix: &str) -> Result<Identity, getrandom::Error> {
    Ok(Identity { client: ReplicaId::new(&format!("{prefix}{}", word()?)), secret: word()? })
}

/// For the wait before coming back. Without random bits clients come back together, which is not worth an error.
pub(super) fn jitter() -> u16 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).ok();
    u16::from_le_bytes(bytes)
}

/// 128 random bits as 32 hexadecimal digits.
fn word() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_fresh_and_keep_their_prefix() {
        let (a, b) = (identity("a-").unwrap(), identity("a-").unwrap());
        assert_ne!(a.client, b.client);
        assert_ne!(a.secret, b.secret);
        assert_ne!(a.secret, a.client.as_str()[2..]);
        assert!(a.client.as_str().starts_with("a-") && a.client.as_str().len() == 34);
    }
}
