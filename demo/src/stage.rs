//! The stage: reference, configuration, model server, PagerDuty's stand-in, collector and sidecar, all on this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use axum::Router;
use clap::Parser;
use driftline_collector::config::EventTime;
use driftline_collector::{Collector, Config, ReferencePlan, build_reference, write_reference};
use driftline_sidecar::{Settings, Sidecar};
use parquet::arrow::ArrowWriter;

use crate::flights::{Flight, WEATHER};
use crate::model::Model;
use crate::model_server::{self, OUTPUT, row_of};
use crate::pagerduty::Receiver;
use crate::replay::is_reference;

/// A file that says that a folder is the demo's, and may be emptied.
const MARKER: &str = ".driftline-demo";
/// The shape of a PagerDuty integration key. It goes to this process and nowhere else.
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    pub(crate) model: Arc<Model>,
    pub(crate) collector: Collector,
    pub(crate) sidecar: Sidecar,
    pub(crate) pagerduty: Receiver,
}

impl Stage {
    /// Sets everything up in a folder, whose earlier contents go if they were the demo's.
    pub(crate) fn set(folder: &Path, port: u16, flights: &[Flight]) -> Result<Self, String> {
        let io = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        empty(folder)?;
        let folder = folder.canonicalize().map_err(|error| io("the demo's folder", &error))?;
        let model = Arc::new(Model::load()?);
        let pagerduty = Receiver::default();
        let model_server = serve(model_server::routes(Arc::clone(&model)))?;
        let pagerduty_address = serve(pagerduty.routes())?;
        let port = if port == 0 { free_port()? } else { port };

        std::fs::write(folder.join("pagerduty.key"), ROUTING_KEY).map_err(|error| io("the key file", &error))?;
        let config_path = folder.join("driftline.yaml");
        std::fs::write(&config_path, configuration(port, pagerduty_address, &model.name))
            .map_err(|error| io("the configuration", &error))?;
        let config = Config::load(&config_path).map_err(|problems| problems.to_string())?;
        reference(&folder, &config, &model, flights)?;
        let collector = Collector::start(config).map_err(|error| format!("the collector: {error}"))?;
        let sidecar = Settings::try_parse_from([
            "driftline-sidecar",
            "--listen=127.0.0.1:0",
            "--admin=127.0.0.1:0",
            &format!("--upstream={model_server}"),
            &format!("--collector=http://{}", collector.address()),
            &format!("--model={}", model.name),
            "--instance=demo",
            "--drain-delay=0s",
        ]);
        let sidecar = sidecar.map_err(|error| error.to_string())?;
        let sidecar = Sidecar::start(sidecar).map_err(|error| format!("the sidecar: {error}"))?;
        Ok(Self { folder, model, collector, sidecar, pagerduty })
    }

    /// The address to open.
    pub(crate) fn page(&self) -> String {
        format!("http://localhost:{}", self.collector.address().port())
    }
}

/// Makes a folder empty, if it does not exist or is the demo's own.
fn empty(folder: &Path) -> Result<(), String> {
    let failed =
        |error: std::io::Error| format!("{} cannot be used: {error}; name another with --folder", folder.display());
    if folder.try_exists().map_err(failed)? {
        let is_empty = std::fs::read_dir(folder).map_err(failed)?.next().is_none();
        if !is_empty && !folder.join(MARKER).try_exists().map_err(failed)? {
            return Err(format!("{} is not empty, and not the demo's; name another with --folder", folder.display()));
        }
        std::fs::remove_dir_all(folder).map_err(failed)?;
    }
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::write(folder.join(MARKER), "").map_err(failed)
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free port: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Serves routes on a free port of this machine, until the process ends.
fn serve(routes: Router) -> Result<SocketAddr, String> {
    let failed = |error: std::io::Error| format!("cannot serve: {error}");
    let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "a server of the demo ended");
        }
    });
    Ok(address)
}

/// The collector's configuration: what a user would write, with the demo's addresses.
fn configuration(port: u16, pagerduty: SocketAddr, model: &str) -> String {
    format!(
        "\
# The demo's collector. A day of flights is a pane; ten days are a window, and one closes each day.
listen: 127.0.0.1:{port}
public_url: http://localhost:{port}
data_dir: data
archive:
  folder: archive
  partition: day
  max_age: 5s
models:
  - name: {model}
    reference: reference.json
    event_time: {{column: scheduled_at}}
    row_id: flight_id
    # Each airport is also compared with itself.
    segments:
      - {{column: origin}}
    # Fifteen days of one January know little of what a January may bring.
    false_pages: 1 per year
    windows:
      pane: 1d
      window: 10d
      every: 1d
      origin: 2013-01-01T05:00:00Z   # midnight in New York
      lateness: 6h
      min_filled: 5
      close_when_idle: 10s
    slis:
      latency: {{below: 250ms}}
      freshness:
        - {{column: weather_at, max_age: 2h}}
alerts:
  targets:
    oncall:
      pagerduty:
        url: http://{pagerduty}/v2/enqueue   # a stand-in on this machine
        routing_key: {{file: pagerduty.key}}
    mail:
      email:
        from: Driftline <driftline@demo.example>
        to: [oncall@demo.example]
        directory: mails
"
    )
}

/// Builds the reference: the even days of January with what the model says of them, as `driftline reference build` does.
fn reference(folder: &Path, config: &Config, model: &Model, flights: &[Flight]) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("the reference: {error}");
    let days: Vec<&Flight> = flights.iter().filter(|flight| is_reference(flight)).collect();
    let input = folder.join("reference-days.parquet");
    write_days(&input, model, &days).map_err(|error| failed(&error))?;
    let described = config.model(&model.name);
    let EventTime::Column { name: time, .. } = &described.event_time else { return Err(failed(&"no event time")) };
    let plan = ReferencePlan {
        model: model.name.clone(),
        inputs: vec![input],
        time: Some((time.clone(), described.windows)),
        segments: described.segments.by,
        ..ReferencePlan::default()
    };
    let file = build_reference(&plan).map_err(|error| failed(&error))?;
    write_reference(&file, &folder.join("reference.json")).map_err(|error| failed(&error))?;
    Ok(())
}

fn write_days(path: &Path, model: &Model, days: &[&Flight]) -> Result<(), Box<dyn std::error::Error>> {
    let text = |of: &dyn Fn(&Flight) -> &str| -> ArrayRef {
        let mut builder = StringBuilder::new();
        days.iter().for_each(|flight| builder.append_value(of(flight)));
        Arc::new(builder.finish())
    };
    let number = |of: &dyn Fn(&Flight) -> Option<f64>| -> ArrayRef {
        let mut builder = Float64Builder::new();
        days.iter().for_each(|flight| builder.append_option(of(flight)));
        Arc::new(builder.finish())
    };
    let mut times = TimestampMicrosecondBuilder::new();
    days.iter().for_each(|flight| times.append_value(flight.scheduled_at));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("scheduled_at", Arc::new(times.finish().with_timezone("UTC"))),
        ("carrier", text(&|flight| &flight.carrier)),
        ("origin", text(&|flight| &flight.origin)),
        ("dest", text(&|flight| &flight.dest)),
        ("distance", number(&|flight| Some(f64::from(flight.distance)))),
        ("hour", number(&|flight| Some(f64::from(flight.hour)))),
    ];
    for (index, name) in WEATHER.into_iter().enumerate() {
        columns.push((name, number(&|flight| flight.weather[index])));
    }
    columns.push((OUTPUT, number(&|flight| Some(model.predict(&row_of(model, flight))))));
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
