//! A run as an answer shows it. An answer is bounded, whatever the run holds: a host may hand over only so much.

use std::sync::Arc;

use windlass_contract::view::{RunView, json_bytes};
use windlass_domain::content::{Content, Place, Wanted};
use windlass_domain::definition::Definition;
use windlass_domain::ids::RunId;
use windlass_domain::limits::{MAX_SHOWN_ACTIONS, MAX_SHOWN_BYTES};
use windlass_domain::run::{ActionState, Run};
use windlass_engine::ports::PortError;

use crate::problem::{Kind, Refusal};
use crate::state::ApiState;

/// Reads of a record whose values another commit replaces meanwhile.
const MAX_READS: usize = 3;

/// How much of a run an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// Without the outputs that stand apart from the record.
    WithoutOutputs,
    /// Without the actions.
    WithoutActions,
}

impl Extent {
    fn of(run: &Run) -> Self {
        let text = |state: &ActionState| {
            let error = state.error.as_ref().map_or(0, |error| json_bytes(&error.message));
            error + state.progress.as_ref().map_or(0, json_bytes)
        };
        let apart = |state: &ActionState| state.output.as_ref().and_then(Content::apart);
        let texts: u64 = run.actions.iter().map(text).sum();
        let outputs: u64 = run.actions.iter().filter_map(apart).map(|apart| apart.bytes).sum();
        if run.actions.len() > MAX_SHOWN_ACTIONS || texts > MAX_SHOWN_BYTES {
            Self::WithoutActions
        } else if outputs > MAX_SHOWN_BYTES {
            Self::WithoutOutputs
        } else {
            Self::Whole
        }
    }

    /// The places of the run whose values it shows and that are not loaded.
    fn wanted(self, run: &Run, definition: &Definition) -> Wanted {
        let outputs = definition.indexes().filter(|_| self == Self::Whole).map(Place::Output);
        outputs.chain([Place::Input]).filter(|place| run.lacks(*place)).collect()
    }

    fn view(self, definition: &Definition, run: &Run) -> RunView {
        match self {
            Self::Whole | Self::WithoutOutputs => RunView::of(definition, run),
            Self::WithoutActions => RunView::without_actions(run),
        }
    }
}

/// The run of that id, or the problem that there is none.
pub(crate) async fn load(api: &ApiState, id: RunId) -> Result<Run, Refusal> {
    let run = api.ports().runs.load(&id).await?;
    run.ok_or_else(|| Refusal::new(&Kind::UNKNOWN_RUN, format!("there is no run {id}")))
}

/// The run of that id as it stands.
pub(crate) async fn read(api: &ApiState, id: RunId) -> Result<RunView, Refusal> {
    let wanted = |definition: &Definition, run: &Run| Ok(Extent::of(run).wanted(run, definition));
    let (run, definition) = load_with(api, id, wanted).await?;
    Ok(Extent::of(&run).view(&definition, &run))
}

/// The run as a request to it found it. The request was accepted: a value that can not be read is left out.
pub(crate) async fn accepted(api: &ApiState, definition: &Definition, mut run: Run) -> RunView {
    let extent = Extent::of(&run);
    let wanted = extent.wanted(&run, definition);
    if !wanted.is_empty()
        && let Err(error) = api.ports().runs.fill(&mut run, &wanted).await
    {
        tracing::warn!(run.id = %run.id, error.code = error.code, error = %error, "left values out of an answer");
    }
    extent.view(definition, &run)
}

/// The run of that id with the values of the wanted places.
pub(crate) async fn load_with(
    api: &ApiState,
    id: RunId,
    wanted: impl Fn(&Definition, &Run) -> Result<Wanted, Refusal>,
) -> Result<(Run, Arc<Definition>), Refusal> {
    for _ in 0..MAX_READS {
        let mut run = load(api, id).await?;
        let definition = api.definitions().get(&run.task, run.version).await?;
        let wanted = wanted(&definition, &run)?;
        if wanted.is_empty() {
            return Ok((run, definition));
        }
        match api.ports().runs.fill(&mut run, &wanted).await {
            Ok(()) => return Ok((run, definition)),
            // Another commit has replaced a value since the record was read.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(PortError::conflict().into())
}
