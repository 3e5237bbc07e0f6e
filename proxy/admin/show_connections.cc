#include <algorithm>
#include <unordered_map>

#include "proxy/admin/show_rows.h"

namespace pgshunt {
namespace {

// Clients and servers have numbers of their own each; the letter keeps "ptr" and "link" apart.
std::string client_name(std::uint64_t id) { return "c" + std::to_string(id); }
std::string server_name(std::uint64_t id) { return "s" + std::to_string(id); }

using ServersByClient = std::unordered_multimap<std::uint64_t, const ServerReport*>;

ServersByClient servers_by_client(Reports reports) {
  ServersByClient out;
  for (const WorkerReport& report : reports) {
    for (const ServerReport& server : report.servers) {
      if (server.client != 0) out.emplace(server.client, &server);
    }
  }
  return out;
}

std::unordered_map<std::uint64_t, const ClientReport*> clients_by_id(Reports reports) {
  std::unordered_map<std::uint64_t, const ClientReport*> out;
  for (const WorkerReport& report : reports) {
    for (const ClientReport& client : report.clients) out.emplace(client.id, &client);
  }
  return out;
}

struct HostPort {
  std::string_view host;
  std::string_view port;
};

// "10.0.0.1:5432", "[::1]:5432", "/run/postgresql:5432".
HostPort split_address(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == address.npos) return {address, "0"};
  std::string_view host = address.substr(0, colon);
  if (is_unix_host(host)) host = "unix";
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return {host, address.substr(colon + 1)};
}

// The columns SOCKETS and CLIENTS have in common, from "state" on.
void add_client(ResultSet& out, const ClientReport& client, const ServersByClient& servers) {
  out.add(client.state).add(client.address).add(client.port);
  out.add(client.local_address).add(client.local_port);
  out.add(show_time(client.connected_at)).add(show_time(client.last_request));
  out.add(whole_seconds(client.waiting)).add(micros_beyond_seconds(client.waiting)).add(0);
  std::string links;
  const auto [first, last] = servers.equal_range(client.id);
  for (auto held = first; held != last; ++held) {
    links += (links.empty() ? "" : ",") + server_name(held->second->id);
  }
  out.add(client_name(client.id)).add(links);
  out.add(client.remote_pid).add(client.tls).add(client.application_name);
}

using ClientsById = std::unordered_map<std::uint64_t, const ClientReport*>;

void add_server(ResultSet& out, const ServerReport& server, const ClientsById& clients) {
  const HostPort at = split_address(server.address);
  out.add(server.state).add(at.host).add(at.port);
  out.add(server.local_address).add(server.local_port);
  out.add(show_time(server.connected_at)).add(show_time(server.last_request));
  out.add(0).add(0).add(server.close_needed ? 1 : 0);
  out.add(server_name(server.id)).add(server.client != 0 ? client_name(server.client) : "");
  out.add(server.remote_pid).add(server.tls);
  const auto client = clients.find(server.client);
  out.add(client == clients.end() ? std::string() : client->second->application_name);
}

}  // namespace

void show_clients(ResultSet& out, Reports reports) {
  const ServersByClient servers = servers_by_client(reports);
  for (const WorkerReport& report : reports) {
    for (const ClientReport& client : report.clients) {
      out.add("C").add(client.user).add(client.database).add("none");
      add_client(out, client, servers);
      out.add(client.prepared_statements).add(client.id).add(client.channels);
      out.add(client.pins).add(whole_seconds(client.pinned_for));
    }
  }
}

void show_servers(ResultSet& out, Reports reports) {
  const ClientsById clients = clients_by_id(reports);
  for (const WorkerReport& report : reports) {
    for (const ServerReport& server : report.servers) {
      out.add("S").add(server.pool.user).add(server.pool.database).add("none");
      add_server(out, server, clients);
      out.add(server.prepared_statements).add(server.id).add(server.shard);
    }
  }
}

void show_sockets(ResultSet& out, Reports reports, bool only_active) {
  const ServersByClient servers = servers_by_client(reports);
  const ClientsById clients = clients_by_id(reports);
  for (const WorkerReport& report : reports) {
    for (const ClientReport& client : report.clients) {
      const bool sleeps = client.state == "active" && !servers.contains(client.id);
      if (only_active && sleeps) continue;
      out.add("C").add(client.user).add(client.database);
      add_client(out, client, servers);
    }
    for (const ServerReport& server : report.servers) {
      if (only_active && server.state == "idle") continue;
      out.add("S").add(server.pool.user).add(server.pool.database);
      add_server(out, server, clients);
    }
  }
}

void show_pins(ResultSet& out, Reports reports) {
  const ServersByClient servers = servers_by_client(reports);
  std::vector<const ClientReport*> pinned;
  for (const WorkerReport& report : reports) {
    for (const ClientReport& client : report.clients) {
      if (!client.pins.empty()) pinned.push_back(&client);
    }
  }
  // The longest first: that is whom one looks for.
  std::stable_sort(pinned.begin(), pinned.end(), [](const ClientReport* a, const ClientReport* b) {
    return a->pinned_for > b->pinned_for;
  });
  const TimePoint now = Clock::now();
  for (const ClientReport* client : pinned) {
    const auto [first, last] = servers.equal_range(client->id);
    for (auto held = first; held != last; ++held) {
      const ServerReport& server = *held->second;
      const HostPort at = split_address(server.address);
      out.add(client->database).add(client->user).add(client->id);
      out.add(client->address).add(client->port).add(server.shard);
      out.add(server.id).add(at.host).add(at.port).add(server.remote_pid);
      out.add(client->pins).add(whole_seconds(client->pinned_for));
      out.add(whole_seconds(now - client->last_request));
    }
  }
}

}  // namespace pgshunt
