//! Random bits, as the inputs that the replica asks for.

use std::fmt;
use std::sync::Arc;

use crate::id::ReplicaId;
use crate::protocol::client::Identity;

/// Fills a buffer with random bits.
type Fill = dyn Fn(&mut [u8]) -> Result<(), getrandom::Error> + Send + Sync;

/// Where the bits come from.
#[derive(Clone)]
pub(super) struct Random(Arc<Fill>);

impl Random {
    pub(super) fn new(fill: impl Fn(&mut [u8]) -> Result<(), getrandom::Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// The operating system's.
    pub(super) fn system() -> Self {
        Self::new(getrandom::fill)
    }

    /// A fresh identity: 128 random bits in the name, behind `prefix`, and 128 in the secret.
    pub(super) fn identity(&self, prefix: &str) -> Result<Identity, getrandom::Error> {
        Ok(Identity { client: ReplicaId::new(&format!("{prefix}{}", self.word()?)), secret: self.word()? })
    }

    /// For the wait before coming back. Without random bits clients come back together, which is not worth an error.
    pub(super) fn jitter(&self) -> u16 {
        let mut bytes = [0; 2];
        (self.0)(&mut bytes).ok();
        u16::from_le_bytes(bytes)
    }

    /// 128 random bits as 32 hexadecimal digits.
    fn word(&self) -> Result<String, getrandom::Error> {
        let mut bytes = [0; 16];
        (self.0)(&mut bytes)?;
        Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_fresh_and_keep_their_prefix() {
        let random = Random::system();
        let (a, b) = (random.identity("a-").unwrap(), random.identity("a-").unwrap());
        assert_ne!(a.client, b.client);
        assert_ne!(a.secret, b.secret);
        assert_ne!(a.secret, a.client.as_str()[2..]);
        assert!(a.client.as_str().starts_with("a-") && a.client.as_str().len() == 34);
    }
}
