#include "proxy/config/names.h"

namespace pgshunt {
namespace {

constexpr EnumName<PoolMode> kPoolModes[] = {
    {"session", PoolMode::kSession},
    {"transaction", PoolMode::kTransaction},
    {"statement", PoolMode::kStatement},
};
constexpr EnumName<SslMode> kSslModes[] = {
    {"disable", SslMode::kDisable},    {"allow", SslMode::kAllow},
    {"prefer", SslMode::kPrefer},      {"require", SslMode::kRequire},
    {"verify-ca", SslMode::kVerifyCa}, {"verify-full", SslMode::kVerifyFull},
};
constexpr EnumName<AuthMethod> kAuthMethods[] = {
    {"trust", AuthMethod::kTrust},
    {"reject", AuthMethod::kReject},
    {"password", AuthMethod::kPassword},
    {"md5", AuthMethod::kMd5},
    {"scram-sha-256", AuthMethod::kScramSha256},
    {"cert", AuthMethod::kCert},
};
constexpr EnumName<LogFormat> kLogFormats[] = {
    {"text", LogFormat::kText},
    {"json", LogFormat::kJson},
};
constexpr EnumName<PinPolicy> kPinPolicies[] = {
    {"allow", PinPolicy::kAllow},
    {"refuse", PinPolicy::kRefuse},
};
constexpr EnumName<ShardKeyUpdate> kShardKeyUpdates[] = {
    {"refuse", ShardKeyUpdate::kRefuse},
    {"move", ShardKeyUpdate::kMove},
};
constexpr EnumName<CrossShardWrite> kCrossShardWrites[] = {
    {"two_phase", CrossShardWrite::kTwoPhase},
    {"refuse", CrossShardWrite::kRefuse},
    {"one_phase", CrossShardWrite::kOnePhase},
};
// PostgreSQL's names for the types, and their aliases.
constexpr EnumName<KeyType> kKeyTypes[] = {
    {"smallint", KeyType::kInt2},
    {"int2", KeyType::kInt2},
    {"integer", KeyType::kInt4},
    {"int", KeyType::kInt4},
    {"int4", KeyType::kInt4},
    {"bigint", KeyType::kInt8},
    {"int8", KeyType::kInt8},
    {"text", KeyType::kText},
    {"varchar", KeyType::kVarchar},
    {"character varying", KeyType::kVarchar},
    {"uuid", KeyType::kUuid},
    {"bytea", KeyType::kBytea},
    {"numeric", KeyType::kNumeric},
    {"decimal", KeyType::kNumeric},
    {"date", KeyType::kDate},
    {"timestamp", KeyType::kTimestamp},
    {"timestamp without time zone", KeyType::kTimestamp},
    {"timestamptz", KeyType::kTimestamptz},
    {"timestamp with time zone", KeyType::kTimestamptz},
};
constexpr EnumName<Strategy> kStrategies[] = {
    {"hash", Strategy::kHash},           {"range", Strategy::kRange},   {"list", Strategy::kList},
    {"directory", Strategy::kDirectory}, {"schema", Strategy::kSchema},
};
// A fixed shard is not named by a word.
constexpr EnumName<NewKeys> kNewKeys[] = {
    {"hash", NewKeys::kHash},
    {"least_loaded", NewKeys::kLeastLoaded},
    {"refuse", NewKeys::kRefuse},
};
constexpr EnumName<HbaRule::Connection> kConnections[] = {
    {"local", HbaRule::Connection::kLocal},     {"host", HbaRule::Connection::kHost},
    {"hostssl", HbaRule::Connection::kHostSsl}, {"hostnossl", HbaRule::Connection::kHostNoSsl},
    {"any", HbaRule::Connection::kAny},
};

}  // namespace

std::span<const EnumName<PoolMode>> names_of(PoolMode) { return kPoolModes; }
std::span<const EnumName<SslMode>> names_of(SslMode) { return kSslModes; }
std::span<const EnumName<AuthMethod>> names_of(AuthMethod) { return kAuthMethods; }
std::span<const EnumName<LogFormat>> names_of(LogFormat) { return kLogFormats; }
std::span<const EnumName<PinPolicy>> names_of(PinPolicy) { return kPinPolicies; }
std::span<const EnumName<CrossShardWrite>> names_of(CrossShardWrite) { return kCrossShardWrites; }
std::span<const EnumName<ShardKeyUpdate>> names_of(ShardKeyUpdate) { return kShardKeyUpdates; }
std::span<const EnumName<KeyType>> names_of(KeyType) { return kKeyTypes; }
std::span<const EnumName<Strategy>> names_of(Strategy) { return kStrategies; }
std::span<const EnumName<NewKeys>> names_of(NewKeys) { return kNewKeys; }
std::span<const EnumName<HbaRule::Connection>> names_of(HbaRule::Connection) {
  return kConnections;
}

}  // namespace pgshunt
