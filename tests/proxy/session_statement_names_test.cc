#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <string>

#include "proxy/session/statement_names.h"

namespace pgshunt {
namespace {

StatementPtr make(std::string text) {
  Statement statement;
  statement.text = std::move(text);
  return own_statement(std::move(statement));
}

TEST(StatementNames, AChangeIsSeenAtOnce) {
  StatementNames names;
  const StatementPtr s = make("SELECT 1");
  names.add("s", s);
  ASSERT_NE(names.find("s"), nullptr);
  EXPECT_EQ(*names.find("s"), s);
  EXPECT_EQ(names.name_of(s->id), "s");
  names.remove("s");
  EXPECT_EQ(names.find("s"), nullptr);
  EXPECT_EQ(names.size(), 0u);
}

TEST(StatementNames, UndoGivesTheNameBack) {
  StatementNames names;
  const StatementPtr before = make("before");
  const StatementPtr after = make("after");
  names.confirm(names.add("s", before));
  const ChangeTag removed = names.remove("s");
  const ChangeTag added = names.add("s", after);
  EXPECT_EQ(names.undo(added), after);
  EXPECT_EQ(names.undo(removed), nullptr);
  EXPECT_EQ(*names.find("s"), before);
}

TEST(StatementNames, OnlyEarlierSegmentsAreUndecided) {
  StatementNames names;
  const ChangeTag tag = names.add("s", make("SELECT 1"));
  EXPECT_FALSE(names.undecided("s"));
  names.end_segment();
  EXPECT_TRUE(names.undecided("s"));
  EXPECT_TRUE(names.undecided());
  EXPECT_FALSE(names.undecided("t"));
  names.confirm(tag);
  EXPECT_FALSE(names.undecided("s"));
  names.remove_all();
  names.end_segment();
  EXPECT_TRUE(names.undecided("t"));
}

TEST(StatementNames, TheServerGoesAndSoDoesWhatItWasAsked) {
  StatementNames names;
  const StatementPtr kept = make("kept");
  names.confirm(names.add("kept", kept));
  names.remove_all();
  names.add("kept", make("other"));
  names.add("more", make("more"));
  names.undo_all();
  EXPECT_EQ(names.size(), 1u);
  EXPECT_EQ(*names.find("kept"), kept);
  EXPECT_FALSE(names.undecided());
}

// A PostgreSQL session's names, and a client that sends ahead of its answers.
class Model {
 public:
  explicit Model(unsigned seed) : random_(seed) {}

  void step() {
    if (!requests_.empty() && pick(3) == 0) return answer();
    const std::string name(1, static_cast<char>('a' + pick(4)));
    switch (pick(8)) {
      case 0:
        requests_.push_back({Kind::kSync, 0, {}, {}});
        names_.end_segment();
        return;
      case 1:
        requests_.push_back({Kind::kFailure, 0, {}, {}});
        return;
      case 2: {
        while (names_.undecided()) answer();
        requests_.push_back({Kind::kRemoveAll, names_.remove_all(), {}, {}});
        return;
      }
      case 3:
      case 4: {
        while (names_.undecided(name)) answer();
        requests_.push_back({Kind::kRemove, names_.remove(name), name, {}});
        return;
      }
      default: {
        while (names_.undecided(name)) answer();
        if (names_.find(name)) {
          // Refused in its place in the pipeline, as the server would.
          requests_.push_back({Kind::kDuplicate, 0, name, {}});
          return;
        }
        const StatementPtr statement = make(name);
        const bool fails = pick(4) == 0;
        requests_.push_back(
            {fails ? Kind::kBadAdd : Kind::kAdd, names_.add(name, statement), name, statement});
        return;
      }
    }
  }

  void finish() {
    names_.end_segment();
    requests_.push_back({Kind::kSync, 0, {}, {}});
    while (!requests_.empty()) answer();
  }

  void compare() const {
    ASSERT_EQ(names_.size(), server_.size());
    for (const auto& [name, statement] : server_) {
      ASSERT_NE(names_.find(name), nullptr) << name;
      EXPECT_EQ(*names_.find(name), statement) << name;
    }
    EXPECT_FALSE(names_.undecided());
  }

 private:
  enum class Kind { kSync, kFailure, kAdd, kBadAdd, kDuplicate, kRemove, kRemoveAll };
  struct Request {
    Kind kind;
    ChangeTag tag;
    std::string name;
    StatementPtr statement;
  };

  unsigned pick(unsigned count) { return static_cast<unsigned>(random_() % count); }

  void answer() {
    // Only a Sync makes the server answer; without one there is nothing to wait for.
    ASSERT_FALSE(requests_.empty());
    const Request request = requests_.front();
    requests_.pop_front();
    switch (request.kind) {
      case Kind::kSync:
        return;
      case Kind::kAdd:
        ASSERT_FALSE(server_.contains(request.name));
        server_[request.name] = request.statement;
        break;
      case Kind::kRemove:
        server_.erase(request.name);
        break;
      case Kind::kRemoveAll:
        server_.clear();
        break;
      case Kind::kDuplicate:
        ASSERT_TRUE(server_.contains(request.name));
        return fail(request);
      case Kind::kFailure:
      case Kind::kBadAdd:
        return fail(request);
    }
    EXPECT_EQ(names_.confirm(request.tag), request.statement);
  }

  void fail(const Request& failed) {
    std::size_t skipped = 0;
    while (skipped < requests_.size() && requests_[skipped].kind != Kind::kSync) ++skipped;
    if (skipped == requests_.size()) {
      // The rest of this part of the pipeline has not been sent yet: its Sync comes now.
      requests_.push_back({Kind::kSync, 0, {}, {}});
      names_.end_segment();
    }
    for (std::size_t i = skipped; i-- > 0;) undo(requests_[i]);
    undo(failed);
    requests_.erase(requests_.begin(), requests_.begin() + static_cast<std::ptrdiff_t>(skipped));
  }

  void undo(const Request& request) {
    if (request.tag == 0) return;
    EXPECT_EQ(names_.undo(request.tag), request.statement);
  }

  std::mt19937 random_;
  StatementNames names_;
  std::map<std::string, StatementPtr> server_;
  std::deque<Request> requests_;
};

TEST(StatementNames, AgreesWithAServerWhateverIsSentAhead) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed);
    for (int i = 0; i < 60; ++i) model.step();
    model.finish();
    model.compare();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace pgshunt
