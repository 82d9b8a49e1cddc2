#include "agent/repository_fetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trust/tuf/sinks.h"

namespace livecare::agent {

namespace {

using trust::tuf::Area;
using trust::tuf::MemorySink;

class FakeClient : public net::HttpClient {
 public:
  Result<net::HttpResponse> get(const net::HttpRequest& request, net::BodySink& sink) override {
    asked = request;
    TRY_STATUS(sink.begin());
    if (status == 200) {
      TRY_STATUS(sink.write(ByteView(std::string_view("content"))));
    }
    return net::HttpResponse{status};
  }
  long status = 200;
  net::HttpRequest asked;
};

ErrorCode code_of(long status) {
  FakeClient client;
  client.status = status;
  RepositoryFetcher fetcher(client, "http://host/m", "");
  MemorySink sink("x", 10);
  Status result = fetcher.fetch(Area::metadata, "x", sink);
  return result.ok() ? ErrorCode::internal : result.error().code;
}

}  // namespace

TEST(RepositoryFetcher, JoinsPathsToTheUrlOfTheirArea) {
  FakeClient client;
  RepositoryFetcher fetcher(client, "http://host/m", "http://host/t/");
  MemorySink sink("x", 7);
  ASSERT_TRUE(fetcher.fetch(Area::metadata, "1.root.json", sink).ok());
  EXPECT_EQ(client.asked.url, "http://host/m/1.root.json");
  EXPECT_EQ(client.asked.body_bytes_max, 7u);
  ASSERT_TRUE(fetcher.fetch(Area::targets, "a/b", sink).ok());
  EXPECT_EQ(client.asked.url, "http://host/t/a/b");
  EXPECT_EQ(ByteView(sink.take()).as_text(), "content");
}

// A missing root is how a client knows the newest; a server in trouble must not look like it.
TEST(RepositoryFetcher, OnlyWhatIsNotThereIsNotFound) {
  EXPECT_EQ(code_of(404), ErrorCode::not_found);
  EXPECT_EQ(code_of(403), ErrorCode::not_found);
  for (long status : {204L, 401L, 410L, 429L, 500L, 503L})
    EXPECT_EQ(code_of(status), ErrorCode::io);
}

TEST(RepositoryFetcher, SaysWhichUrlIsMissing) {
  FakeClient client;
  RepositoryFetcher fetcher(client, "http://host/m", "");
  MemorySink sink("x", 7);
  Status status = fetcher.fetch(Area::targets, "a", sink);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().text(), ::testing::HasSubstr("--target-base-url"));
}

TEST(RepositoryFetcher, KeepsTheErrorOfAFullSink) {
  FakeClient client;
  RepositoryFetcher fetcher(client, "http://host/m", "");
  MemorySink sink("x.json", 3);
  Status status = fetcher.fetch(Area::metadata, "x.json", sink);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::untrusted);
}

}  // namespace livecare::agent
