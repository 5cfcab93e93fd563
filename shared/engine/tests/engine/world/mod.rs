//! A small world: the host in memory, the loops, and agents whose work is a script.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use windlass_contract::message::{InboxMessage, PerformMessage, decode, encode, message_hash};
use windlass_domain::definition::Definition;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{AgentId, PoolName, RunId, TaskName};
use windlass_domain::run::{ErrorInfo, Input, Origin, Outcome, Report, Run};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::agent::{Agent, AgentSettings};
use windlass_engine::definitions::Definitions;
use windlass_engine::perform::{Attempt, AttemptControl, Performer};
use windlass_engine::ports::{Outgoing, QueueName, Received};
use windlass_engine::process_manager::ProcessManager;
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::{MemoryHost, QueueLimits};
use windlass_testkit::old_reads::OldGlances;

/// The behaviour of one attempt.
pub(crate) enum Act {
    End(Outcome),
    After(Duration, Outcome),
    Hang,
    /// Takes that long to prepare, and then asks whether it may begin.
    Prepare(Duration, Box<Act>),
    /// Saves a checkpoint after each span, then ends or hangs.
    Save(Vec<(Duration, Value)>, Box<Act>),
}

type Rule = Box<dyn Fn(&Attempt) -> Act + Send + Sync>;

/// Performs attempts by a rule.
pub(crate) struct Script {
    rule: Rule,
    pub(crate) performed: Arc<AtomicUsize>,
    pub(crate) began: Arc<AtomicUsize>,
    now: AtomicUsize,
    pub(crate) most: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new(rule: impl Fn(&Attempt) -> Act + Send + Sync + 'static) -> Self {
        let (performed, began, most) = <(Arc<_>, Arc<_>, Arc<_>)>::default();
        Self { rule: Box::new(rule), performed, began, now: AtomicUsize::new(0), most }
    }

    pub(crate) fn give(output: Value) -> Act {
        Act::End(Outcome::Succeeded { output })
    }

    pub(crate) fn after(span: Duration, output: Value) -> Act {
        Act::After(span, Outcome::Succeeded { output })
    }

    pub(crate) fn fail(kind: &str) -> Act {
        Act::End(Outcome::Failed { error: ErrorInfo::new(kind, "by script") })
    }

    pub(crate) fn save<const N: usize>(saves: [(Duration, Value); N], then: Act) -> Act {
        Act::Save(saves.into(), Box::new(then))
    }

    pub(crate) fn prepare(span: Duration, then: Act) -> Act {
        Act::Prepare(span, Box::new(then))
    }

    pub(crate) fn hang() -> Act {
        Act::Hang
    }
}

#[async_trait]
impl Performer for Script {
    async fn perform(&self, attempt: Attempt, control: AttemptControl) -> Outcome {
        self.performed.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let work = async {
            let mut act = (self.rule)(&attempt);
            loop {
                match act {
                    Act::End(outcome) => return outcome,
                    Act::After(span, outcome) => {
                        tokio::time::sleep(span).await;
                        return outcome;
                    }
                    Act::Hang => std::future::pending().await,
                    Act::Prepare(span, then) => {
                        tokio::time::sleep(span).await;
                        if !control.may_begin() {
                            return Outcome::Cancelled;
                        }
                        self.began.fetch_add(1, Ordering::SeqCst);
                        act = *then;
                    }
                    Act::Save(saves, then) => {
                        for (span, checkpoint) in saves {
                            tokio::time::sleep(span).await;
                            control.save(checkpoint).expect("small");
                        }
                        act = *then;
                    }
                }
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = work => outcome,
            () = control.stop.cancelled() => Outcome::Cancelled,
        };
        self.now.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

/// An agent that works in the world.
pub(crate) struct Running {
    shutdown: CancellationToken,
    line: FaultyHost,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// kill -9.
    pub(crate) fn kill(self) {
        self.line.kill_caller();
    }

    pub(crate) async fn drain(self) {
        self.shutdown.cancel();
        self.task.await.expect("the agent ends by itself");
    }
}

pub(crate) struct World {
    pub(crate) host: MemoryHost,
    ports: Ports,
    definitions: Arc<Definitions>,
    faulty: FaultyHost,
}

/// A report by that agent of the first receipt of an attempt's message. Its hash is made up.
pub(crate) fn first_report(perform: &PerformMessage, agent: &str) -> Report {
    let delivery = Delivery::new(perform.of.attempt, perform.issue, 1);
    Report { action: perform.of.action, delivery, message: 1, agent: AgentId::new(agent).expect("a name") }
}

/// A report by the agent that received that message.
pub(crate) fn report_of(received: &Received, agent: &str) -> Report {
    let perform = decode(&received.body).expect("an attempt");
    let mut of = first_report(&perform, agent);
    of.delivery.receive = received.receive_count;
    Report { message: message_hash(&received.id), ..of }
}

/// The id of a run that does not exist.
pub(crate) fn absent_run() -> RunId {
    RunId::from_uuid(Uuid::from_u128(404))
}

impl World {
    pub(crate) fn new() -> Self {
        Self::failing(usize::MAX, Moment::Before)
    }

    /// A world in which one call of the loops fails, before or after its effect.
    pub(crate) fn failing(at: usize, moment: Moment) -> Self {
        let host = MemoryHost::new(Timestamp::from_millis(1_700_000_000_000));
        let ports = host.ports();
        Self::over(host, ports, at, moment)
    }

    /// A world whose queues have limits.
    pub(crate) fn limited(limits: QueueLimits) -> Self {
        let host = MemoryHost::new(Timestamp::from_millis(1_700_000_000_000)).with_limits(limits);
        let ports = host.ports();
        Self::swept(host, ports, usize::MAX, Moment::Before, Duration::from_mins(1))
    }

    /// The same, and every read that may be old is.
    pub(crate) fn failing_with_old_reads(at: usize, moment: Moment) -> Self {
        let host = MemoryHost::new(Timestamp::from_millis(1_700_000_000_000));
        let ports = OldGlances::on(&host.ports());
        Self::over(host, ports, at, moment)
    }

    fn over(host: MemoryHost, ports: Ports, at: usize, moment: Moment) -> Self {
        Self::swept(host, ports, at, moment, Duration::from_secs(1))
    }

    fn swept(host: MemoryHost, ports: Ports, at: usize, moment: Moment, every: Duration) -> Self {
        let world = Self::still(host, ports, at, moment);
        let manager = ProcessManager::new(world.ports.clone(), world.definitions.clone());
        tokio::spawn(async move { manager.run(2, &CancellationToken::new()).await });
        let sweeper = Sweeper::new(world.ports.clone(), every);
        tokio::spawn(async move { sweeper.run(&CancellationToken::new()).await });
        world
    }

    /// A world in which no loop runs: the test handles the inbox by hand.
    pub(crate) fn idle() -> Self {
        let host = MemoryHost::new(Timestamp::from_millis(1_700_000_000_000));
        let ports = host.ports();
        Self::still(host, ports, usize::MAX, Moment::Before)
    }

    fn still(host: MemoryHost, ports: Ports, at: usize, moment: Moment) -> Self {
        let faulty = FaultyHost::failing(ports, at, moment);
        let ports = faulty.ports();
        let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
        Self { host, ports, definitions, faulty }
    }

    /// How many calls the loops have made.
    pub(crate) fn calls(&self) -> usize {
        self.faulty.calls()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    pub(crate) fn agent(&self, name: &str, slots: u32, script: Script) -> Running {
        self.agent_with(name, slots, script, |_| {})
    }

    pub(crate) fn agent_with(
        &self,
        name: &str,
        slots: u32,
        script: Script,
        change: impl FnOnce(&mut AgentSettings),
    ) -> Running {
        let id = AgentId::new(name).expect("a name");
        let mut settings = AgentSettings::new(id, PoolName::default(), slots);
        change(&mut settings);
        let line = FaultyHost::failing(self.ports.clone(), usize::MAX, Moment::Before);
        let agent = Agent::new(line.ports(), self.definitions.clone(), Arc::new(script), settings);
        let shutdown = CancellationToken::new();
        let told = shutdown.clone();
        Running { shutdown, line, task: tokio::spawn(async move { agent.run(&told).await }) }
    }

    /// Stores the definition and submits a run of it.
    pub(crate) async fn submit(&self, source: &Value) -> RunId {
        let host = self.host.ports();
        let definition = Definition::from_source(source).expect("a good definition");
        let put = host.tasks.put(&definition.task, source, None, self.now()).await.expect("stored");
        let task: TaskName = definition.task.clone();
        let id = RunId::from_key(&task, "the one");
        let actions = definition.actions.len();
        let run = Run::submitted(id, (task, put.version), actions, Value::Null, Origin::Request, self.now());
        host.runs.create(&run, &[], &[]).await.expect("created");
        self.input(id, Input::Start).await;
        id
    }

    pub(crate) async fn input(&self, run: RunId, input: Input) {
        let batch = vec![Outgoing::now(encode(&InboxMessage::of_run(run, input)))];
        self.host.ports().queues.send(&QueueName::Inbox, batch).await.expect("sent");
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.host.ports().runs.load(&id).await.expect("read").expect("there")
    }

    /// Waits, at most an hour of the world's time.
    pub(crate) async fn until(&self, id: RunId, holds: impl Fn(&Run) -> bool) -> Run {
        let waiting = async {
            loop {
                let run = self.run(id).await;
                if holds(&run) {
                    return run;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let Ok(run) = tokio::time::timeout(Duration::from_hours(1), waiting).await else {
            panic!("never: {:?}", self.run(id).await);
        };
        run
    }

    pub(crate) async fn ended(&self, id: RunId) -> Run {
        self.until(id, |run| run.status.is_final()).await
    }

    /// The types of the run's events with their actions, in order.
    pub(crate) async fn events(&self, id: RunId) -> Vec<String> {
        let logged = self.host.ports().runs.events(id, None, 1000).await.expect("read");
        let shown = |event: &windlass_contract::event::PublicEvent| match &event.action {
            Some(action) => format!("{} {action}", event.kind),
            None => event.kind.clone(),
        };
        logged.iter().map(|logged| shown(&logged.event)).collect()
    }

    /// Receives the pool's messages and never answers: an agent that dies at once.
    pub(crate) async fn steal(&self, visibility: Duration) -> Vec<Received> {
        let queues = self.host.ports().queues;
        let pool = QueueName::Pool(PoolName::default());
        queues.receive(&pool, 10, visibility, Duration::from_secs(20)).await.expect("received")
    }

    /// Messages that no process acknowledged, after each had the time to.
    pub(crate) async fn left_over(&self) -> Vec<String> {
        // A look whether a pool has an agent comes after 45 s.
        tokio::time::sleep(Duration::from_mins(1)).await;
        let pool = [QueueName::Pool(PoolName::default())];
        QueueName::INPUTS.iter().chain(&pool).flat_map(|queue| self.host.messages(queue)).collect()
    }

    pub(crate) async fn agents(&self) -> Vec<String> {
        let agents = self.host.ports().agents.list().await.expect("read");
        agents.into_iter().map(|agent| agent.id.to_string()).collect()
    }
}
