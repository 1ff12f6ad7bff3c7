//! Which plans of a provider may use which models.

use crate::family::matches_pattern;

/// The plans of a provider and what they may use. Empty where nothing is known: then every plan may use everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanRules {
    /// The known plans by class.
    pub classes: Vec<PlanClass>,
    /// Which models ask for which plans, the first match first; a model without a row is for all.
    pub rows: Vec<PlanRow>,
}

/// Plans that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanClass {
    /// Its name, for instance `paid`.
    pub name: String,
    /// The provider's words for them, lower case.
    pub plans: Vec<String>,
}

/// Models that only some plans may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// Patterns of model names, lower case, where `*` stands for any text.
    pub models: Vec<String>,
    /// The provider's words for the plans that may use them, lower case.
    pub plans: Vec<String>,
}

impl PlanRules {
    /// What a model asks for; `None` where every plan may use it.
    pub fn row_of(&self, model: &str) -> Option<&PlanRow> {
        let model = model.to_lowercase();
        self.rows.iter().find(|row| row.models.iter().any(|pattern| matches_pattern(pattern, &model)))
    }

    /// Whether a plan, in the provider's word, is one of the known ones. Of an unknown plan nothing can be said.
    pub fn knows(&self, plan: &str) -> bool {
        self.classes.iter().any(|class| class.plans.iter().any(|known| known.eq_ignore_ascii_case(plan)))
    }
}

impl PlanRow {
    /// Whether a plan, in the provider's word, is among those that may use the models.
    pub fn admits(&self, plan: &str) -> bool {
        self.plans.iter().any(|admitted| admitted.eq_ignore_ascii_case(plan))
    }
}
