//! The engine's ports on AWS. Saga records and tasks are in one `DynamoDB` table, queues in SQS, and large payloads in
//! S3. Events go to an `EventBridge` bus, and `EventBridge` Scheduler keeps due times.

mod agents;
mod bus;
mod clients;
mod clock;
mod error;
pub mod meter;
mod payload;
mod queues;
mod recent;
mod runs;
mod schedules;
#[cfg(test)]
mod scripted;
pub mod sender;
pub mod settings;
mod table;
mod tasks;
pub mod telemetry;

use std::sync::Arc;

use aws_sdk_sqs::config::SharedCredentialsProvider;
use meter::Meter;
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{Agents, Bus, Clock, Queues, Runs, Schedules, Tasks};

pub use agents::AgentTable;
pub use bus::EventBridgeBus;
pub use clients::Clients;
pub use clock::SystemClock;
pub use queues::SqsQueues;
pub use runs::RunTable;
pub use schedules::{AwsSchedules, due_of_dead_letter};
pub use settings::{Program, ScheduleTarget, Settings, SettingsError};
pub use tasks::TaskTable;

/// A stack on AWS, as one program sees it.
#[derive(Debug, Clone)]
pub struct AwsHost {
    settings: Settings,
    clients: Clients,
    meter: Meter,
}

impl AwsHost {
    /// Makes the clients, and requests nothing of the stack yet.
    pub async fn connect(settings: Settings) -> Self {
        Self::with(settings, None, 1).await
    }

    /// Makes the clients with those credentials, in place of the default chain. Requests may take `patience` times as
    /// long as to AWS: an emulator on a busy machine is slow, and must not get a request twice.
    pub async fn connect_as(settings: Settings, credentials: SharedCredentialsProvider, patience: u32) -> Self {
        Self::with(settings, Some(credentials), patience).await
    }

    async fn with(settings: Settings, credentials: Option<SharedCredentialsProvider>, patience: u32) -> Self {
        let meter = Meter::new(settings.meter_reads);
        let clients = Clients::connect(&settings, credentials, patience, &meter).await;
        Self { settings, clients, meter }
    }

    /// The stack's ports for the engine's loops, and the definitions of its runs, which the loops share.
    pub fn ports(&self) -> (Ports, Arc<Definitions>) {
        let tasks = self.tasks();
        let definitions = Arc::new(Definitions::new(tasks.clone()));
        let ports = Ports {
            queues: self.queues(),
            runs: self.runs(definitions.clone()),
            tasks,
            schedules: self.schedules(),
            bus: self.bus(),
            agents: self.agents(),
            clock: self.clock(),
        };
        (ports, definitions)
    }

    /// Saga records.
    pub fn runs(&self, definitions: Arc<Definitions>) -> Arc<dyn Runs> {
        Arc::new(RunTable::new(&self.clients, &self.settings, definitions, self.clock()))
    }

    /// Tasks and their versions.
    pub fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::new(TaskTable::new(&self.clients, &self.settings))
    }

    /// The register of agents.
    pub fn agents(&self) -> Arc<dyn Agents> {
        Arc::new(AgentTable::new(&self.clients, &self.settings))
    }

    /// The keeper of schedules.
    pub fn schedules(&self) -> Arc<dyn Schedules> {
        Arc::new(AwsSchedules::new(self.clients.scheduler.clone(), &self.settings))
    }

    /// The queues.
    pub fn queues(&self) -> Arc<dyn Queues> {
        Arc::new(SqsQueues::new(self.clients.clone(), &self.settings))
    }

    /// The event bus.
    pub fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(EventBridgeBus::new(&self.clients, &self.settings))
    }

    /// The clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// The settings that the program read from its environment.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The clients, for requests that no port has.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The meter of the clients' requests and billed units.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}
