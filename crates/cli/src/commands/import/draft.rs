//! Turns what a parser read into what the control plane stores.

use claviger_admin::{AccountAdd, BlockView, CredentialAdd, Exposed, OptionsSet, SourceWord};
use claviger_domain::block::{Block, BlockEnd};
use claviger_domain::credential::Standing;
use claviger_domain::options::{AccountOptions, OwnClient, Reserve, Weight};
use claviger_providers::import::{ImportedAccount, ImportedCredential};

/// An account to be stored, from one that another tool keeps.
pub fn account_add(account: ImportedAccount) -> AccountAdd {
    let ImportedAccount { row, provider, credential, identity, standing, blocks, label, priority, options, follow, notes: _ } = account;
    AccountAdd {
        identity: identity.into(),
        label,
        source: SourceWord::Imported,
        disabled: match standing {
            Standing::Active => None,
            Standing::Disabled { cause, since: _ } => Some(cause),
        },
        blocks: blocks.into_iter().map(block_view).collect(),
        follows: follow.map(|path| path.display().to_string()),
        priority,
        options: options_set(&options),
        ..AccountAdd::new(row, provider.as_str(), credential_add(credential))
    }
}

fn credential_add(credential: ImportedCredential) -> CredentialAdd {
    match credential {
        ImportedCredential::OAuth { access, refresh, expires_at } => {
            CredentialAdd::Oauth { access: exposed(access.expose()), refresh: refresh.map(|refresh| exposed(refresh.expose())), expires_at }
        }
        ImportedCredential::ApiKey { key } => CredentialAdd::ApiKey { key: exposed(key.expose()) },
    }
}

/// What differs from a new account's options.
fn options_set(options: &AccountOptions) -> OptionsSet {
    let AccountOptions { reserve, weight, own_client, model_prefix, proxy } = options;
    OptionsSet {
        reserve_percent: (*reserve != Reserve::default()).then(|| reserve.percent()),
        weight: (*weight != Weight::default()).then(|| weight.get()),
        own_client_only: (*own_client != OwnClient::default()).then(|| own_client.as_str().to_owned()),
        model_prefix: model_prefix.as_ref().map(|prefix| prefix.as_str().to_owned()),
        proxy: proxy.as_ref().map(|proxy| exposed(&proxy.exposed())),
    }
}

/// A secret on its way to the vault, which may be behind a socket.
fn exposed(secret: &str) -> Exposed {
    Exposed::new(secret.to_owned())
}

/// A block as the control plane takes it.
pub fn block_view(block: Block) -> BlockView {
    let Block { scope, until, end, reason } = block;
    BlockView { scope: scope.to_string(), until, guessed: end == BlockEnd::Guessed, reason }
}
