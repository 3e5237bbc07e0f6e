#include "proxy/cancel.h"

#include "protocol/digest.h"
#include "protocol/startup.h"
#include "proxy/worker.h"

namespace pgshunt {

std::uint32_t CancelRegistry::add(std::uint16_t worker, std::uint64_t session,
                                  std::uint32_t protocol_minor, std::string& key) {
  key.resize(protocol_minor >= 2 ? 32 : 4);
  fill_random({reinterpret_cast<std::uint8_t*>(key.data()), key.size()});
  const std::lock_guard lock(mutex_);
  std::uint32_t pid = 0;
  do {
    fill_random({reinterpret_cast<std::uint8_t*>(&pid), sizeof pid});
    pid &= 0x7fffffff;  // clients show it as a signed number
  } while (pid == 0 || entries_.contains(pid));
  entries_[pid] = {worker, session, key};
  return pid;
}

void CancelRegistry::remove(std::uint32_t pid) {
  const std::lock_guard lock(mutex_);
  entries_.erase(pid);
}

bool CancelRegistry::find(std::uint32_t pid, std::string_view key, std::uint16_t& worker,
                          std::uint64_t& session) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(pid);
  if (found == entries_.end() || !equal_constant_time(found->second.key, key)) return false;
  worker = found->second.worker;
  session = found->second.session;
  return true;
}

CancelSender::CancelSender(Worker& worker, Backend& backend)
    : worker_(worker),
      pool_(backend.pool),
      backend_id_(backend.identity.id),
      timeout_(worker.loop(), [this] { finish(stream_ == nullptr); }) {
  append_cancel_request(request_, backend.identity.server_pid, backend.identity.cancel_key);
  ++backend.cancels_under_way;
  const PoolSpec& spec = pool_.spec();
  const Seconds limit = spec.config->cancel_wait_timeout;
  const TimePoint deadline = worker.loop().now() + std::chrono::duration_cast<Clock::duration>(
                                                       limit.count() > 0 ? limit : Seconds{3600});
  timeout_.arm(deadline);
  ConnectTarget target{spec.host.host, spec.host.port, spec.tls_mode, spec.tls,
                       keepalive_options(*spec.config)};
  connector_ = std::make_unique<Connector>(
      worker.loop(), worker.resolver(), std::move(target), deadline,
      [this](Result<Stream::Detached> result) { connected(std::move(result)); });
}

CancelSender::~CancelSender() = default;

void CancelSender::connected(Result<Stream::Detached> result) {
  worker_.bury(std::move(connector_));
  if (!result) return finish(true);
  stream_ = std::make_unique<Stream>(worker_.loop(), std::move(*result), *this);
  if (stream_->write(request_) == IoResult::kFailed) finish(false);
}

void CancelSender::on_io(std::uint32_t events) {
  if (finished_) return;
  if ((events & kIoWrite) && stream_->flush() == IoResult::kFailed) return finish(false);
  if (!(events & kIoRead)) return;
  std::size_t got = 0;
  ScratchBuffer& scratch = worker_.server_scratch();
  const IoResult result = stream_->read(scratch.data(), scratch.size(), got);
  if (result != IoResult::kWouldBlock) finish(result == IoResult::kClosed);
}

void CancelSender::finish(bool settled) {
  if (finished_) return;
  finished_ = true;
  timeout_.cancel();
  if (stream_) stream_->want_read(false);
  pool_.cancel_finished(backend_id_, settled);
  worker_.cancel_sender_done(*this);
}

}  // namespace pgshunt
