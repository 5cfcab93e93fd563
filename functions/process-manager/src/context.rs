//! One process of the function keeps this context from one invocation to the next.

use std::sync::Arc;

use windlass_aws::meter::Meter;
use windlass_aws::sender::Senders;
use windlass_aws::telemetry::Figures;
use windlass_aws::{AwsHost, Settings};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::process_manager::ProcessManager;

/// Built once, on a cold start. The function requests nothing then. The first request to each service opens its
/// connection, and the requests of one batch go at once.
pub(crate) struct Context {
    pub(crate) manager: ProcessManager,
    pub(crate) ports: Ports,
    pub(crate) figures: Figures,
    /// The names of all queues of the stack begin with this text.
    pub(crate) queue_prefix: String,
    /// The roles of the programs that send inputs.
    pub(crate) senders: Senders,
    pub(crate) meter: Option<Meter>,
    pub(crate) stack: String,
}

impl Context {
    /// A context on AWS.
    pub(crate) async fn new(settings: Settings, figures: Figures) -> Self {
        let host = AwsHost::connect(settings).await;
        let (queue_prefix, stack) = (host.settings().queue_prefix.clone(), host.settings().name.clone());
        let (senders, meter) = (host.settings().senders.clone(), Some(host.meter().clone()));
        Self { queue_prefix, senders, meter, stack, ..Self::over(host.ports(), figures) }
    }

    /// Over these ports, of a stack without a name.
    pub(crate) fn over((ports, definitions): (Ports, Arc<Definitions>), figures: Figures) -> Self {
        let manager = ProcessManager::new(ports.clone(), definitions);
        let (queue_prefix, senders, stack) = (String::new(), Senders::default(), String::new());
        Self { manager, ports, figures, queue_prefix, senders, meter: None, stack }
    }

    /// Writes the counts, because the process stands still between two invocations.
    pub(crate) fn tell(&self) {
        self.figures.write(&self.stack);
        if let Some(meter) = &self.meter {
            meter.count("Lambda", "Invoke", 1, 1.0);
            meter.report();
        }
    }
}
