//! Whether the configuration and the catalogue can be read.

use super::Finding;
use crate::commands::provider;
use crate::context::Context;

/// Reads both and says what they hold.
pub fn look(context: &Context) -> Vec<Finding> {
    let file = context.paths.config_file.display();
    let configuration = match context.config() {
        Ok(_) if !context.paths.config_file.exists() => Finding::ok("configuration", format!("{file} is not there: the defaults hold")),
        Ok(_) => Finding::ok("configuration", format!("{file} can be read")),
        Err(error) => Finding::failed("configuration", &error, "claviger config check"),
    };
    let catalogue = match provider::catalogue(context) {
        Ok(catalogue) => Finding::ok("catalogue", format!("{} providers", catalogue.iter().count())),
        Err(error) => Finding::failed("catalogue", &error, "claviger config check"),
    };
    vec![configuration, catalogue]
}
