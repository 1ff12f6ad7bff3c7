//! The Secret Service of a desktop session over D-Bus (freedesktop.org, Secret Service API 0.2), as far as one key needs it.
//!
//! The secret crosses the session bus as it is (`plain`): whoever may listen on the bus of this user may ask the keyring as well.
//! Nothing here ever shows a prompt: where one would be needed, the keyring is [`KeyringError::Locked`].

use super::{KeyringError, OsKeyring, SERVICE};
use claviger_runtime::{BoxFuture, best_effort};
use std::collections::HashMap;
use zbus::zvariant::{DynamicType, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, Message, connection};
use zeroize::{Zeroize, Zeroizing};

const BUS_NAME: &str = "org.freedesktop.secrets";
const SERVICE_PATH: &str = "/org/freedesktop/secrets";
const DEFAULT_COLLECTION: &str = "/org/freedesktop/secrets/aliases/default";
const SERVICE_INTERFACE: &str = "org.freedesktop.Secret.Service";
const COLLECTION_INTERFACE: &str = "org.freedesktop.Secret.Collection";
const ITEM_INTERFACE: &str = "org.freedesktop.Secret.Item";
const PROMPT_INTERFACE: &str = "org.freedesktop.Secret.Prompt";

/// The path that stands for no object.
const NO_OBJECT: &str = "/";

/// What the entry is, for whoever reads it by other means.
const CONTENT_TYPE: &str = "text/plain";

/// A secret on the wire: session, parameters of the algorithm, the secret, its content type.
type WireSecret = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

/// The keyring of the desktop session.
#[derive(Debug, Clone)]
pub struct SecretService {
    /// The address of the session's bus; absent where there is no session.
    bus: Option<String>,
}

impl SecretService {
    /// Over the bus at this address.
    pub fn new(bus: Option<String>) -> Self {
        Self { bus }
    }

    async fn connect(self) -> Result<Bus, KeyringError> {
        let address = self.bus.ok_or(KeyringError::Absent(None))?;
        let absent = |error: zbus::Error| KeyringError::Absent(Some(Box::new(error)));
        let connection = connection::Builder::address(address.as_str()).map_err(absent)?.build().await.map_err(absent)?;
        Ok(Bus { connection })
    }
}

impl OsKeyring for SecretService {
    fn read(&self, entry: &str) -> BoxFuture<'static, Result<Zeroizing<String>, KeyringError>> {
        let (service, entry) = (self.clone(), entry.to_owned());
        Box::pin(async move {
            let bus = service.connect().await?;
            let session = bus.session().await?;
            let item = bus.item(&entry).await?;
            let answer = bus.call(item.as_str(), ITEM_INTERFACE, "GetSecret", &(&session,)).await?;
            let (_, _, mut bytes, _): WireSecret = read(&answer)?;
            let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
            let text = text.map_err(|_not_text| KeyringError::Malformed { entry });
            bytes.zeroize();
            text
        })
    }

    fn write(&self, entry: &str, text: Zeroizing<String>) -> BoxFuture<'static, Result<(), KeyringError>> {
        let (service, entry) = (self.clone(), entry.to_owned());
        Box::pin(async move {
            let bus = service.connect().await?;
            let session = bus.session().await?;
            let properties = HashMap::from([
                ("org.freedesktop.Secret.Item.Label", Value::from(format!("Claviger root key {entry}"))),
                ("org.freedesktop.Secret.Item.Attributes", Value::from(attributes(&entry))),
            ]);
            let mut secret: WireSecret = (session, Vec::new(), text.as_bytes().to_vec(), CONTENT_TYPE.to_owned());
            let answer = bus.call(DEFAULT_COLLECTION, COLLECTION_INTERFACE, "CreateItem", &(properties, &secret, true)).await;
            secret.2.zeroize();
            let (_, prompt): (OwnedObjectPath, OwnedObjectPath) = read(&answer?)?;
            bus.refuse_prompt(&prompt).await
        })
    }

    fn remove(&self, entry: &str) -> BoxFuture<'static, Result<(), KeyringError>> {
        let (service, entry) = (self.clone(), entry.to_owned());
        Box::pin(async move {
            let bus = service.connect().await?;
            let item = bus.item(&entry).await?;
            let prompt: OwnedObjectPath = read(&bus.call(item.as_str(), ITEM_INTERFACE, "Delete", &()).await?)?;
            bus.refuse_prompt(&prompt).await
        })
    }
}

/// What the keyring finds an entry by.
fn attributes(entry: &str) -> HashMap<&'static str, String> {
    HashMap::from([("service", SERVICE.to_owned()), ("account", entry.to_owned())])
}

/// A connection, closed with the end of the call that it was made for: a locked keyring is asked every few seconds for days.
struct Bus {
    connection: Connection,
}

impl Bus {
    /// A session without encryption of its own.
    async fn session(&self) -> Result<OwnedObjectPath, KeyringError> {
        let answer = self.call(SERVICE_PATH, SERVICE_INTERFACE, "OpenSession", &("plain", Value::from(""))).await?;
        let (_, session): (OwnedValue, OwnedObjectPath) = read(&answer)?;
        Ok(session)
    }

    /// The entry, if it can be read now.
    async fn item(&self, entry: &str) -> Result<OwnedObjectPath, KeyringError> {
        let answer = self.call(SERVICE_PATH, SERVICE_INTERFACE, "SearchItems", &(attributes(entry),)).await?;
        let (open, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) = read(&answer)?;
        match (open.into_iter().next(), locked.is_empty()) {
            (Some(item), _) => Ok(item),
            (None, false) => Err(KeyringError::Locked),
            (None, true) => match self.is_locked().await {
                // Some keyrings tell nothing of what is in them while they are locked.
                Ok(true) => Err(KeyringError::Locked),
                // One that has just been started may not have found its files yet.
                Err(KeyringError::Absent(cause)) => Err(KeyringError::Absent(cause)),
                Ok(false) | Err(_) => Err(KeyringError::NoEntry { entry: entry.to_owned() }),
            },
        }
    }

    /// Whether the default keyring is locked.
    async fn is_locked(&self) -> Result<bool, KeyringError> {
        let ask = (COLLECTION_INTERFACE, "Locked");
        let answer = self.call(DEFAULT_COLLECTION, "org.freedesktop.DBus.Properties", "Get", &ask).await?;
        let value: OwnedValue = read(&answer)?;
        bool::try_from(value).map_err(|error| KeyringError::Broken(Box::new(error)))
    }

    /// Takes a prompt back that the keyring would need to go on.
    async fn refuse_prompt(&self, prompt: &OwnedObjectPath) -> Result<(), KeyringError> {
        if prompt.as_str() == NO_OBJECT {
            return Ok(());
        }
        best_effort("taking a prompt of the keyring back", self.call(prompt.as_str(), PROMPT_INTERFACE, "Dismiss", &()).await.map(drop));
        Err(KeyringError::Locked)
    }

    async fn call<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> Result<Message, KeyringError>
    where
        B: serde::Serialize + DynamicType + Sync,
    {
        self.connection.call_method(Some(BUS_NAME), path, Some(interface), method, body).await.map_err(failure)
    }
}

fn read<T>(answer: &Message) -> Result<T, KeyringError>
where
    T: for<'answer> serde::Deserialize<'answer> + zbus::zvariant::Type,
{
    answer.body().deserialize().map_err(|error| KeyringError::Broken(Box::new(error)))
}

/// What an error of the bus or of the service means.
fn failure(error: zbus::Error) -> KeyringError {
    let zbus::Error::MethodError(name, _, _) = &error else { return KeyringError::Broken(Box::new(error)) };
    match name.as_str() {
        "org.freedesktop.Secret.Error.IsLocked" => KeyringError::Locked,
        // Nobody owns the name and nothing can be started, or there is no default keyring: the calls themselves are in the
        // specification, so that what is unknown is the object.
        "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner"
        | "org.freedesktop.DBus.Error.UnknownObject"
        | "org.freedesktop.DBus.Error.UnknownMethod"
        | "org.freedesktop.Secret.Error.NoSuchObject" => KeyringError::Absent(Some(Box::new(error))),
        name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => KeyringError::Absent(Some(Box::new(error))),
        _ => KeyringError::Broken(Box::new(error)),
    }
}
