//! Who is compared: each started before the same upstream, with as little to do as it can be configured to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Options;
use crate::acknowledger;
use crate::processes::{Process, free_address, wait_until_open};
use crate::sidecar::{Collector, Sidecar};
use crate::workload::Workload;

/// Everybody, in the order of the table. `nginx` is what all are compared with.
pub(crate) const NAMES: [&str; 9] =
    ["direct", "sidecar", "sidecar-acked", "sidecar-bare", "nginx", "nginx-mirror", "haproxy", "envoy", "envoy-mirror"];
pub(crate) const YARDSTICK: &str = "nginx";

/// A way from the load to the upstream.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Whether requests go where the sidecar captures.
    pub(crate) captured: bool,
    pub(crate) runs: Runs,
}

#[derive(Debug)]
pub(crate) enum Runs {
    Nothing,
    Sidecar(Sidecar),
    Proxy(Process),
}

impl Contender {
    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.runs {
            Runs::Nothing => None,
            Runs::Sidecar(sidecar) => Some(&sidecar.process),
            Runs::Proxy(process) => Some(process),
        }
    }
}

/// What the contenders stand between.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    pub(crate) binaries: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) workload: Workload,
    pub(crate) upstream: SocketAddr,
    pub(crate) sink: SocketAddr,
    pub(crate) collector: &'a Collector,
}

impl Stage<'_> {
    /// Starts a contender. An error is the reason why it cannot be had.
    pub(crate) fn start(&self, name: &'static str) -> Result<Contender, String> {
        let proxy = |(process, address)| (Runs::Proxy(process), address);
        let (runs, address) = match name {
            "direct" => (Runs::Nothing, self.upstream),
            "sidecar" | "sidecar-acked" | "sidecar-bare" => {
                let collector = if name == "sidecar-acked" { acknowledger::start() } else { self.collector.address };
                let sidecar = Sidecar::start(self.binaries, self.folder, self.upstream, collector, &[]);
                let address = sidecar.address;
                (Runs::Sidecar(sidecar), address)
            }
            "nginx" => proxy(self.nginx(false)?),
            "nginx-mirror" if self.workload.is_http2() => return Err("nginx mirrors HTTP/1.1 only".to_owned()),
            "nginx-mirror" => proxy(self.nginx(true)?),
            "haproxy" => proxy(self.haproxy()?),
            "envoy" => proxy(self.envoy(false)?),
            "envoy-mirror" => proxy(self.envoy(true)?),
            _ => return Err("nobody knows it".to_owned()),
        };
        Ok(Contender { name, address, captured: name != "sidecar-bare", runs })
    }

    fn run(&self, name: &str, address: SocketAddr, mut command: Command) -> (Process, SocketAddr) {
        let mut process = Process::start(&mut command, &self.folder.join(format!("{name}.log")));
        wait_until_open(name, address);
        assert!(!process.has_ended(), "{name} ended at once; see {}", self.folder.display());
        (process, address)
    }

    fn nginx(&self, mirror: bool) -> Result<(Process, SocketAddr), String> {
        let program = program("nginx", &["/usr/sbin/nginx"])?;
        let (address, name) = (free_address(), if mirror { "nginx-mirror" } else { "nginx" });
        let Self { upstream, sink, .. } = self;
        let (http2, pass, scheme) =
            if self.workload.is_http2() { (" http2", "grpc_pass", "grpc") } else { ("", "proxy_pass", "http") };
        let mirrored = if mirror { "mirror /mirror;" } else { "" };
        let folder = self.folder.display();
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {folder}/{name}.pid;\nerror_log {folder}/{name}.error.log error;\n\
             events {{ worker_connections 8192; }}\n\
             http {{\n\
               access_log off;\n\
               keepalive_requests 1000000000;\n\
               client_max_body_size 0;\n\
               client_body_buffer_size 256k;\n\
               client_body_temp_path {folder}/{name}.body;\n\
               proxy_temp_path {folder}/{name}.proxy;\n\
               fastcgi_temp_path {folder}/{name}.f; uwsgi_temp_path {folder}/{name}.u; scgi_temp_path {folder}/{name}.s;\n\
               upstream model {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}\n\
               upstream sink {{ server {sink}; keepalive 128; keepalive_requests 1000000000; }}\n\
               proxy_http_version 1.1;\n\
               proxy_set_header Connection \"\";\n\
               proxy_buffers 8 64k;\n\
               proxy_buffer_size 64k;\n\
               proxy_busy_buffers_size 128k;\n\
               server {{\n\
                 listen {address}{http2};\n\
                 location / {{ {mirrored} {pass} {scheme}://model; {buffering} }}\n\
                 location = /mirror {{ internal; proxy_pass http://sink$request_uri; }}\n\
               }}\n\
             }}\n",
            buffering = if self.workload == Workload::Sse { "proxy_buffering off;" } else { "" },
        );
        let path = self.folder.join(format!("{name}.conf"));
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        command.arg("-e").arg(self.folder.join("nginx.error.log")).arg("-c").arg(path);
        Ok(self.run(name, address, command))
    }

    fn haproxy(&self) -> Result<(Process, SocketAddr), String> {
        let program = program("haproxy", &["/usr/sbin/haproxy"])?;
        let address = free_address();
        let proto = if self.workload.is_http2() { " proto h2" } else { "" };
        let config = format!(
            "global\n  nbthread 1\n  maxconn 8000\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n\
             frontend front\n  bind {address}{proto}\n  default_backend back\n\
             backend back\n  server model {}{proto}\n",
            self.upstream
        );
        let path = self.folder.join("haproxy.cfg");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(path);
        Ok(self.run("haproxy", address, command))
    }

    fn envoy(&self, mirror: bool) -> Result<(Process, SocketAddr), String> {
        let program = match &self.options.envoy {
            Some(program) => program.clone(),
            None => program("envoy", &[])?,
        };
        let (address, name) = (free_address(), if mirror { "envoy-mirror" } else { "envoy" });
        let protocol = if self.workload.is_http2() { "http2_protocol_options" } else { "http_protocol_options" };
        let cluster = |name: &str, to: SocketAddr| {
            format!(
                "  - name: {name}\n    type: STATIC\n    connect_timeout: 5s\n\
                 \x20   typed_extension_protocol_options:\n\
                 \x20     envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n\
                 \x20       \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n\
                 \x20       explicit_http_config: {{ {protocol}: {{}} }}\n\
                 \x20   load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: \
                 {{ socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ] }}\n",
                to.ip(),
                to.port()
            )
        };
        let mirrored = if mirror { ", request_mirror_policies: [ { cluster: sink } ]" } else { "" };
        let config = format!(
            "static_resources:\n  listeners:\n  - address: {{ socket_address: {{ address: {}, port_value: {} }} }}\n\
             \x20   filter_chains:\n    - filters:\n      - name: envoy.filters.network.http_connection_manager\n\
             \x20       typed_config:\n\
             \x20         \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n\
             \x20         stat_prefix: front\n          codec_type: AUTO\n\
             \x20         http_filters: [ {{ name: envoy.filters.http.router, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ]\n\
             \x20         route_config: {{ virtual_hosts: [ {{ name: all, domains: [ \"*\" ], routes: [ {{ match: {{ prefix: / }}, \
             route: {{ cluster: model, timeout: 0s{mirrored} }} }} ] }} ] }}\n\
             \x20 clusters:\n{}{}",
            address.ip(),
            address.port(),
            cluster("model", self.upstream),
            cluster("sink", self.sink),
        );
        let path = self.folder.join(format!("{name}.yaml"));
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        command.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error", "-c"]).arg(path);
        Ok(self.run(name, address, command))
    }
}

/// A program by its name, in PATH or in one of the usual places.
fn program(name: &str, usual: &[&str]) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .chain(usual.iter().map(PathBuf::from))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not installed; tests/bench installs it"))
}
