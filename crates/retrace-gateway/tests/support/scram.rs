//! The server's half of SCRAM-SHA-512 (RFC 5802).

#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};

const SALT: &[u8] = b"sixteen of salt.";
const ITERATIONS: u32 = 4096;
const NONCE: &str = "server";

/// A user and a password.
pub(crate) type Credentials = (&'static str, &'static str);

/// One exchange of a connection.
pub(crate) struct Exchange {
    credentials: Credentials,
    /// The first messages of the client, without its header, and of the server.
    first: Option<(String, String)>,
    is_complete: bool,
}

impl Exchange {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, first: None, is_complete: false }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Answers a message; `None` for another user or a wrong password.
    pub(crate) fn answer(&mut self, message: &str) -> Option<String> {
        let Some((client_first, server_first)) = &self.first else {
            let bare = message.strip_prefix("n,,")?;
            let nonce = bare.strip_prefix(&format!("n={},r=", self.credentials.0))?;
            let answer = format!("r={nonce}{NONCE},s={},i={ITERATIONS}", STANDARD.encode(SALT));
            self.first = Some((bare.to_owned(), answer.clone()));
            return Some(answer);
        };
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let transcript = format!("{client_first},{server_first},{without_proof}");
        let salted = salted(self.credentials.1);
        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha512::digest(client_key), transcript.as_bytes());
        let expected: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        if STANDARD.decode(proof).ok()? != expected {
            return None;
        }
        self.is_complete = true;
        let server_key = hmac(&salted, b"Server Key");
        Some(format!("v={}", STANDARD.encode(hmac(&server_key, transcript.as_bytes()))))
    }
}

fn salted(password: &str) -> [u8; 64] {
    let mut last = hmac(password.as_bytes(), &[SALT, &[0, 0, 0, 1]].concat());
    let mut sum = last;
    for _ in 1..ITERATIONS {
        last = hmac(password.as_bytes(), &last);
        sum.iter_mut().zip(last).for_each(|(sum, last)| *sum ^= last);
    }
    sum
}

/// HMAC for keys of up to one block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 64] {
    let padded = |pad: u8| -> Vec<u8> {
        key.iter().copied().chain(std::iter::repeat(0)).take(128).map(|byte| byte ^ pad).collect()
    };
    let inner = Sha512::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha512::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}
