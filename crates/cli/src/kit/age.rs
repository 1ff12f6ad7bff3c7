//! The age file format, version 1, as far as a recovery kit needs it: a passphrase or one X25519 recipient, and a short text.
//!
//! Source: C2SP, `age.md` (age-encryption.org/v1). What is written here opens with the `age` tool, and what `age` writes for a
//! passphrase or for X25519 recipients opens here, as long as it is not armored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce, Tag};
use claviger_domain::secret::SecretText;
use claviger_runtime::random_bytes;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// What a guess at the passphrase of a new kit costs, as a power of two: 256 MiB and about a second, what the `age` tool takes.
pub const WORK_FACTOR: u8 = 18;

/// The dearest guess that is paid for a file from elsewhere: 1 GiB.
const WORK_FACTOR_MAX: u8 = 20;

/// Most bytes of a file: a kit takes about 700, and one that many recipients share a few more.
pub const FILE_MAX_BYTES: usize = 64 * 1024;

/// Most stanzas that are tried.
const STANZAS_MAX: usize = 64;

/// Bytes of a wrapped file key. Any other body is refused unopened, as the format demands: a longer one could be made so that many
/// keys open it, and whether it opens would tell which of them somebody has.
const WRAPPED_LEN: usize = FILE_KEY_LEN + TAG_LEN;

const VERSION_LINE: &str = "age-encryption.org/v1";
const FILE_KEY_LEN: usize = 16;
const TAG_LEN: usize = 16;
const SALT_LEN: usize = 16;
const PAYLOAD_NONCE_LEN: usize = 16;
/// The payload is cut into chunks of this size; a kit is one chunk.
const CHUNK_MAX_BYTES: usize = 64 * 1024;
const RECIPIENT_PREFIX: Hrp = Hrp::parse_unchecked("age");
const IDENTITY_PREFIX: Hrp = Hrp::parse_unchecked("age-secret-key-");

type Key = Zeroizing<[u8; 32]>;
type FileKey = Zeroizing<[u8; FILE_KEY_LEN]>;

/// Why a file does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// The caller's: another kind of file.
    #[error("it is no age file, or one in armor")]
    NotAge,
    /// The caller's: it needs an identity, and a passphrase was given, or the other way round.
    #[error("it opens with {needs}")]
    OtherKind {
        /// What it needs.
        needs: &'static str,
    },
    /// The caller's, or the file's: both look the same.
    #[error("{with} does not open it")]
    WrongKey {
        /// What was tried.
        with: &'static str,
    },
    /// The file's: whoever wrote it asks for more than is paid.
    #[error("its passphrase is stretched beyond what this program is willing to pay")]
    TooCostly,
    /// The file's.
    #[error("it is damaged")]
    Damaged,
}

/// Whom a file is encrypted to.
#[derive(Debug)]
pub enum Lock {
    /// Whoever knows a passphrase; a guess costs two to the power of `work_factor`.
    Passphrase {
        /// The passphrase.
        passphrase: SecretText,
        /// See [`WORK_FACTOR`].
        work_factor: u8,
    },
    /// Whoever has the identity to this recipient.
    Recipient(Recipient),
}

/// What opens a file.
#[derive(Debug)]
pub enum Unlock {
    /// A passphrase.
    Passphrase(SecretText),
    /// Any of these.
    Identities(Vec<Identity>),
}

/// A public key, `age1…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl Recipient {
    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = CheckedHrpstring::new::<Bech32>(text).ok().filter(|decoded| decoded.hrp() == RECIPIENT_PREFIX)?;
        let point = exactly(decoded.byte_iter())?;
        // With a point of low order the shared secret would be no secret.
        let probe = StaticSecret::from(random_bytes()).diffie_hellman(&PublicKey::from(point));
        probe.was_contributory().then_some(Self(point))
    }
}

/// A private key, `AGE-SECRET-KEY-1…`. Printed as its name only.
pub struct Identity(StaticSecret);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = CheckedHrpstring::new::<Bech32>(text).ok().filter(|decoded| decoded.hrp() == IDENTITY_PREFIX)?;
        let bytes = Zeroizing::new(exactly(decoded.byte_iter())?);
        Some(Self(StaticSecret::from(*bytes)))
    }

    fn recipient(&self) -> PublicKey {
        PublicKey::from(&self.0)
    }
}

/// 32 bytes, neither more nor fewer.
fn exactly(mut bytes: impl Iterator<Item = u8>) -> Option<[u8; 32]> {
    let mut array = [0; 32];
    for slot in &mut array {
        *slot = bytes.next()?;
    }
    bytes.next().is_none().then_some(array)
}

/// Encrypts a text of at most one chunk.
pub fn encrypt(plain: &[u8], lock: &Lock) -> Vec<u8> {
    assert!(plain.len() < CHUNK_MAX_BYTES, "a kit is far shorter than a chunk");
    let file_key: FileKey = Zeroizing::new(random_bytes());
    let mut header = format!("{VERSION_LINE}\n{}---", stanza_for(lock, &file_key));
    let mac = header_mac(&file_key, header.as_bytes());
    header.push(' ');
    header.push_str(&BASE64.encode(mac));
    header.push('\n');
    let nonce = random_bytes::<PAYLOAD_NONCE_LEN>();
    let mut file = header.into_bytes();
    file.extend_from_slice(&nonce);
    file.extend_from_slice(&seal(&derive(&*file_key, &nonce, b"payload"), &last_chunk_nonce(), plain));
    file
}

/// Opens a file.
pub fn decrypt(file: &[u8], key: &Unlock) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let header = Header::read(file)?;
    let file_key = match key {
        Unlock::Passphrase(passphrase) => by_passphrase(&header, passphrase)?,
        Unlock::Identities(identities) => by_identity(&header, identities)?,
    };
    let mac = header_mac(&file_key, header.signed);
    if !bool::from(mac.as_slice().ct_eq(&header.mac)) {
        return Err(AgeError::Damaged);
    }
    let (nonce, text) = header.payload.split_first_chunk::<PAYLOAD_NONCE_LEN>().ok_or(AgeError::Damaged)?;
    open(&derive(&*file_key, nonce, b"payload"), &last_chunk_nonce(), text).ok_or(AgeError::Damaged)
}

fn stanza_for(lock: &Lock, file_key: &FileKey) -> String {
    match lock {
        Lock::Passphrase { passphrase, work_factor } => {
            let salt = random_bytes::<SALT_LEN>();
            let key = stretch(passphrase, &salt, *work_factor).expect("a work factor of ours is one that scrypt knows");
            let body = seal(&key, &[0; 12], &**file_key);
            format!("-> scrypt {} {work_factor}\n{}\n", BASE64.encode(salt), BASE64.encode(body))
        }
        Lock::Recipient(recipient) => {
            let ephemeral = StaticSecret::from(*Zeroizing::new(random_bytes()));
            let share = PublicKey::from(&ephemeral);
            let key = agree(&ephemeral, &PublicKey::from(recipient.0), (share.as_bytes(), &recipient.0));
            let key = key.expect("a recipient of low order is refused when it is parsed");
            let body = seal(&key, &[0; 12], &**file_key);
            format!("-> X25519 {}\n{}\n", BASE64.encode(share.as_bytes()), BASE64.encode(body))
        }
    }
}

fn by_passphrase(header: &Header<'_>, passphrase: &SecretText) -> Result<FileKey, AgeError> {
    // A stanza for a passphrase stands alone, so that whoever can open a file by it also made it.
    let [stanza] = header.stanzas.as_slice() else { return Err(AgeError::OtherKind { needs: "an identity" }) };
    let ["scrypt", salt, work_factor] = stanza.arguments.as_slice() else { return Err(AgeError::OtherKind { needs: "an identity" }) };
    let salt = BASE64.decode(salt).ok().filter(|salt| salt.len() == SALT_LEN).ok_or(AgeError::Damaged)?;
    let body = stanza.wrapped().ok_or(AgeError::Damaged)?;
    let work_factor = decimal(work_factor).ok_or(AgeError::Damaged)?;
    if work_factor > WORK_FACTOR_MAX {
        return Err(AgeError::TooCostly);
    }
    let key = stretch(passphrase, &salt, work_factor).ok_or(AgeError::Damaged)?;
    unwrap(&key, body).ok_or(AgeError::WrongKey { with: "the passphrase" })
}

fn by_identity(header: &Header<'_>, identities: &[Identity]) -> Result<FileKey, AgeError> {
    if header.stanzas.iter().any(|stanza| stanza.arguments.first() == Some(&"scrypt")) {
        return Err(AgeError::OtherKind { needs: "a passphrase" });
    }
    for stanza in &header.stanzas {
        let ["X25519", share] = stanza.arguments.as_slice() else { continue };
        let share = BASE64.decode(share).ok().and_then(|share| <[u8; 32]>::try_from(share).ok()).ok_or(AgeError::Damaged)?;
        let body = stanza.wrapped().ok_or(AgeError::Damaged)?;
        for identity in identities {
            let own = identity.recipient();
            let key = agree(&identity.0, &PublicKey::from(share), (&share, own.as_bytes()));
            if let Some(file_key) = key.and_then(|key| unwrap(&key, body)) {
                return Ok(file_key);
            }
        }
    }
    Err(AgeError::WrongKey { with: "the identity" })
}

/// A number as the format writes it: digits alone, and no zero before them.
fn decimal(text: &str) -> Option<u8> {
    text.parse::<u8>().ok().filter(|number| number.to_string() == text)
}

/// The key that wraps the file key; `None` for a share of low order, which would make it public.
fn agree(secret: &StaticSecret, public: &PublicKey, (share, recipient): (&[u8; 32], &[u8; 32])) -> Option<Key> {
    let shared = secret.diffie_hellman(public);
    let salt = [share.as_slice(), recipient.as_slice()].concat();
    shared.was_contributory().then(|| derive(shared.as_bytes(), &salt, b"age-encryption.org/v1/X25519"))
}

fn stretch(passphrase: &SecretText, salt: &[u8], work_factor: u8) -> Option<Key> {
    let params = scrypt::Params::new(work_factor, 8, 1).ok().filter(|_| work_factor > 0)?;
    let salt = [b"age-encryption.org/v1/scrypt", salt].concat();
    let mut key: Key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.expose().as_bytes(), &salt, &params, &mut *key).ok()?;
    Some(key)
}

fn derive(secret: &[u8], salt: &[u8], purpose: &[u8]) -> Key {
    let mut key: Key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret).expand(purpose, &mut *key).expect("32 bytes are far below the limit of HKDF");
    key
}

fn header_mac(file_key: &FileKey, signed: &[u8]) -> Zeroizing<[u8; 32]> {
    let key = derive(&**file_key, b"", b"header");
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&*key).expect("HMAC takes keys of any length");
    mac.update(signed);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// The first chunk, which is the last one: eleven bytes of a counter and a flag.
fn last_chunk_nonce() -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(flag) = nonce.last_mut() {
        *flag = 1;
    }
    nonce
}

fn seal(key: &Key, nonce: &[u8; 12], plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(plain.len() + TAG_LEN);
    sealed.extend_from_slice(plain);
    let tag = ChaCha20Poly1305::new((&**key).into())
        .encrypt_inout_detached(&Nonce::from(*nonce), &[], sealed.as_mut_slice().into())
        .expect("a kit is far shorter than the 256 GiB limit of the cipher");
    sealed.extend_from_slice(&tag);
    sealed
}

fn open(key: &Key, nonce: &[u8; 12], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (text, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut plain = Zeroizing::new(text.to_vec());
    let opened = ChaCha20Poly1305::new((&**key).into()).decrypt_inout_detached(
        &Nonce::from(*nonce),
        &[],
        plain.as_mut_slice().into(),
        &Tag::from(*tag),
    );
    opened.is_ok().then_some(plain)
}

fn unwrap(key: &Key, body: &[u8; WRAPPED_LEN]) -> Option<FileKey> {
    let plain = open(key, &[0; 12], body)?;
    <[u8; FILE_KEY_LEN]>::try_from(plain.as_slice()).ok().map(Zeroizing::new)
}

/// One way to the file key.
struct Stanza<'a> {
    arguments: Vec<&'a str>,
    body: Vec<u8>,
}

impl Stanza<'_> {
    fn wrapped(&self) -> Option<&[u8; WRAPPED_LEN]> {
        self.body.as_slice().try_into().ok()
    }
}

struct Header<'a> {
    stanzas: Vec<Stanza<'a>>,
    /// Everything that the checksum is about: up to and with the three dashes.
    signed: &'a [u8],
    mac: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(file: &'a [u8]) -> Result<Self, AgeError> {
        let mut rest = file;
        if next_line(&mut rest) != Some(VERSION_LINE) {
            return Err(AgeError::NotAge);
        }
        let mut stanzas = Vec::new();
        loop {
            let before = file.len() - rest.len();
            let line = next_line(&mut rest).ok_or(AgeError::Damaged)?;
            if let Some(mac) = line.strip_prefix("--- ") {
                let mac = BASE64.decode(mac).map_err(|_not_base64| AgeError::Damaged)?;
                let signed = file.get(..before + "---".len()).ok_or(AgeError::Damaged)?;
                return Ok(Self { stanzas, signed, mac, payload: rest });
            }
            let arguments = line.strip_prefix("-> ").ok_or(AgeError::Damaged)?.split(' ').collect();
            if stanzas.len() == STANZAS_MAX {
                return Err(AgeError::Damaged);
            }
            stanzas.push(Stanza { arguments, body: body(&mut rest)? });
        }
    }
}

/// Base64 in lines of 64 letters; the first shorter one, which may be empty, is the last.
fn body(rest: &mut &[u8]) -> Result<Vec<u8>, AgeError> {
    const LINE_LETTERS: usize = 64;
    let mut text = String::new();
    loop {
        let line = next_line(rest).filter(|line| line.len() <= LINE_LETTERS).ok_or(AgeError::Damaged)?;
        text.push_str(line);
        if line.len() < LINE_LETTERS {
            return BASE64.decode(&text).map_err(|_not_base64| AgeError::Damaged);
        }
    }
}

fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after.strip_prefix(b"\n")?;
    std::str::from_utf8(line).ok()
}

#[cfg(test)]
#[path = "age_tests.rs"]
mod tests;
