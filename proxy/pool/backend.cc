#include "proxy/pool/backend.h"

#include <cstring>
#include <utility>

#include "proxy/pool/routine_watch.h"
#include "proxy/worker.h"

namespace pgshunt {

bool PreparedOnServer::use(std::uint64_t id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return false;
  order_.splice(order_.begin(), order_, found->second);
  return true;
}

void PreparedOnServer::add(std::uint64_t id) {
  if (use(id)) return;
  order_.push_front(id);
  index_[id] = order_.begin();
}

void PreparedOnServer::forget(std::uint64_t id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  order_.erase(found->second);
  index_.erase(found);
}

void PreparedOnServer::clear() {
  order_.clear();
  index_.clear();
}

Backend::Backend(Worker& owner, Pool& owning_pool) : worker(owner), pool(owning_pool) {
  since = owner.loop().now();
}

Backend::~Backend() = default;

void Backend::attach(Stream::Detached detached) {
  stream_ = std::make_unique<Stream>(worker.loop(), std::move(detached), *this);
}

Stream::Detached Backend::detach() {
  Stream::Detached detached = stream_->detach();
  stream_.reset();
  return detached;
}

void Backend::reset_connection() {
  stream_.reset();
  partial_.clear();
  state = State::kConnecting;
}

void Backend::on_io(std::uint32_t events) {
  // Given up earlier in this turn, of whose events this is one.
  if (state == State::kClosed) return;
  if (events & kIoWrite) {
    if (stream_->flush() == IoResult::kFailed) return lost(stream_->error());
    if (stream_->queued() == 0 && driver) driver->on_backend_drained(*this);
    if (state == State::kClosed || !stream_) return;
  }
  if (events & kIoRead) read();
}

void Backend::read() {
  ScratchBuffer& scratch = worker.server_scratch();
  do {
    const std::size_t kept = partial_.size();
    if (kept + kMinReadSpace > scratch.size()) {
      // A message of some size that must be seen whole: gather it in its own memory.
      const std::size_t before = partial_.size();
      partial_.resize(before + kMinReadSpace);
      std::size_t got = 0;
      const IoResult result = stream_->read(partial_.data() + before, kMinReadSpace, got);
      partial_.resize(before + got);
      if (result == IoResult::kWouldBlock) return;
      if (result != IoResult::kOk) return lost(stream_->error());
      redeliver();
    } else {
      std::memcpy(scratch.data(), partial_.data(), kept);
      std::size_t got = 0;
      const IoResult result = stream_->read(scratch.data() + kept, scratch.size() - kept, got);
      if (result == IoResult::kWouldBlock) return;
      if (result != IoResult::kOk) return lost(stream_->error());
      worker.count_server_bytes(got);
      const std::string_view bytes(scratch.data(), kept + got);
      const std::size_t consumed = driver->on_backend_bytes(*this, bytes);
      partial_.assign(bytes.substr(consumed));
    }
  } while (state != State::kClosed && stream_ && driver && reading_ && stream_->has_pending());
}

void Backend::redeliver() {
  if (state == State::kClosed || partial_.empty() || !driver) return;
  // The driver may cause more bytes to be shown before it returns: keep ours out of its way.
  std::string bytes;
  bytes.swap(partial_);
  const std::size_t consumed = driver->on_backend_bytes(*this, bytes);
  if (consumed == 0) {
    partial_.swap(bytes);
  } else {
    partial_.assign(bytes, consumed);
  }
}

void Backend::send(std::string_view bytes) {
  held_ = false;
  if (state == State::kClosed || !stream_ || lost_reported_) return;
  if (stream_->write(bytes) == IoResult::kFailed) lost(stream_->error());
}

void Backend::send_soon(std::string_view bytes) {
  if (state == State::kClosed || !stream_ || lost_reported_) return;
  stream_->enqueue(bytes);
  if (std::exchange(flush_due_, true)) return;
  worker.defer([this] {
    flush_due_ = false;
    if (!held_ && stream_ && stream_->queued() > 0) send({});
  });
}

void Backend::lost(Error error) {
  if (lost_reported_) return;
  lost_reported_ = true;
  if (stream_) stream_->want_read(false);
  if (error.message.empty()) {
    error = {sqlstate::kConnectionFailure, "server closed the connection unexpectedly", {}};
  }
  // Reported later: the caller may be in the middle of a message, and the driver answers by taking
  // this backend apart.
  worker.defer([this, error = std::move(error)] {
    if (state != State::kClosed && driver) driver->on_backend_lost(*this, error);
  });
}

void Backend::pause_reading() {
  if (!reading_) return;
  reading_ = false;
  stream_->want_read(false);
}

void Backend::resume_reading() {
  if (reading_ || state == State::kClosed || !stream_) return;
  reading_ = true;
  stream_->want_read(true);
  // Under TLS decrypted bytes may be waiting inside, which the loop will not report.
  if (!partial_.empty() || stream_->has_pending()) {
    worker.defer([this] {
      if (state == State::kClosed || !reading_ || !stream_) return;
      redeliver();
      if (state != State::kClosed && reading_ && stream_ && stream_->has_pending()) read();
    });
  }
}

bool Backend::clean() const {
  return transaction == TransactionStatus::kIdle && tracker.clean() && passing == 0 && stream_ &&
         stream_->queued() == 0 && !lost_reported_;
}

void Backend::shrink() {
  if (partial_.empty() && partial_.capacity() > kIdleCapacity) std::string().swap(partial_);
}

void note_parameter_status(Backend& backend, std::string_view body) {
  const auto parameter = decode_parameter_status(body);
  if (!parameter) return;
  backend.memory.reported = with(backend.memory.reported, parameter->name, parameter->value);
}

}  // namespace pgshunt
