#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/curl_client.h"
#include "net/retrying_client.h"
#include "net/test_server.h"

namespace livecare::net {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class TextSink : public BodySink {
 public:
  Status begin() override {
    text.clear();
    return ok_status();
  }
  Status write(ByteView piece) override {
    text += piece.as_text();
    if (text.size() > refuse_after) return make_error(ErrorCode::conflict, "sink", "is full");
    return ok_status();
  }
  std::string text;
  size_t refuse_after = SIZE_MAX;
};

constexpr std::string_view head_close = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

std::string answer(int status, std::string_view body, std::string_view more = "") {
  return fmt::format("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n{}", status,
                     body.size(), more, body);
}

void handle(const std::string& target, const TestServer::Send& send) {
  if (target == "/file") send(answer(200, "content"));
  if (target == "/none") send(answer(404, "not here"));
  if (target == "/moved") send(answer(302, "", "Location: /file\r\n"));
  if (target == "/circle") send(answer(302, "", "Location: /circle\r\n"));
  if (target == "/elsewhere") send(answer(302, "", "Location: file:///etc/hostname\r\n"));
  if (target == "/cut") send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  if (target == "/large") send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  const std::string piece(4096, 'x');
  if (target == "/endless" && send(head_close))
    while (send(piece)) continue;
  if (target == "/endless-404" && send("HTTP/1.1 404 X\r\nConnection: close\r\n\r\n"))
    while (send(piece)) continue;
  if (target == "/slow" && send(head_close))
    while (send("x")) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  if (target == "/silent")
    while (send("")) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

class Curl : public ::testing::Test {
 protected:
  Curl() : server_(handle) {
    options_.slow_s_max = 2;
    options_.total_ms_max = 60'000;
  }

  std::string get(const std::string& url, uint64_t bytes_max = 1000) {
    auto client = CurlClient::make(options_).value();
    auto response = client->get({url, bytes_max}, sink_);
    if (response.ok()) return fmt::format("{} {}", response->status, sink_.text);
    code_ = response.error().code;
    return response.error().text();
  }

  TestServer server_;
  CurlOptions options_;
  TextSink sink_;
  ErrorCode code_ = ErrorCode::internal;
};

}  // namespace

TEST_F(Curl, GivesTheBodyOf200AndTheStatusOfOthers) {
  EXPECT_EQ(get(server_.url("/file")), "200 content");
  EXPECT_EQ(get(server_.url("/none")), "404 ");
  EXPECT_EQ(get(server_.url("/moved")), "200 content");
  EXPECT_EQ(get(server_.url("/file"), 7), "200 content");
}

TEST_F(Curl, StopsWhatIsLargerThanAgreed) {
  EXPECT_THAT(get(server_.url("/file"), 6), HasSubstr("is larger than the 6 bytes"));
  EXPECT_EQ(code_, ErrorCode::untrusted);
  EXPECT_THAT(get(server_.url("/endless"), 100'000), HasSubstr("is larger than the 100000 bytes"));
  EXPECT_LE(sink_.text.size(), 100'000u);
  EXPECT_EQ(get(server_.url("/endless-404")), "404 ");
}

TEST_F(Curl, GivesUpAServerThatDribblesOrIsSilent) {
  EXPECT_THAT(get(server_.url("/slow")), HasSubstr("slower than 256 bytes/s for 2 s"));
  EXPECT_EQ(code_, ErrorCode::timed_out);
  options_.total_ms_max = 500;
  options_.slow_s_max = 60;
  get(server_.url("/silent"));
  EXPECT_EQ(code_, ErrorCode::timed_out);
}

TEST_F(Curl, SaysWhatWentWrongAndHidesWhatIsSecret) {
  get(server_.url("/cut"));
  EXPECT_EQ(code_, ErrorCode::io);
  std::string error = get("http://user:secret@127.0.0.1:1/x?token=secret");
  EXPECT_THAT(error, HasSubstr("http://127.0.0.1:1/x: cannot be fetched"));
  EXPECT_THAT(error, Not(HasSubstr("secret")));
  EXPECT_EQ(code_, ErrorCode::io);
  get("file:///etc/hostname");
  EXPECT_EQ(code_, ErrorCode::invalid_input);
}

TEST_F(Curl, FollowsRedirectsToAPointAndToHttpOnly) {
  get(server_.url("/circle"));
  EXPECT_EQ(server_.targets().size(), static_cast<size_t>(options_.redirects_max) + 1);
  get(server_.url("/elsewhere"));
  EXPECT_EQ(code_, ErrorCode::invalid_input);
}

TEST_F(Curl, AnErrorOfTheSinkIsTheError) {
  sink_.refuse_after = 3;
  EXPECT_EQ(get(server_.url("/file")), "sink: is full");
}

TEST_F(Curl, GoesThroughAProxy) {
  options_.proxy = server_.url("");
  get("http://patches.example/x");
  EXPECT_THAT(server_.targets(), ElementsAre("http://patches.example/x"));
}

TEST(PublicPart, HidesUserPasswordAndQuery) {
  EXPECT_EQ(public_part("https://u:p@host/a@b?c=d#e"), "https://host/a@b");
  EXPECT_EQ(public_part("https://host/a"), "https://host/a");
  EXPECT_EQ(public_part("u:p@host"), "host");
  EXPECT_EQ(public_part("https://u:p/@host/a"), "https://u:p/@host/a");
}

namespace {

// Answers from a list; the last one again and again.
class ScriptedClient : public HttpClient {
 public:
  Result<HttpResponse> get(const HttpRequest&, BodySink& sink) override {
    TRY_STATUS(sink.begin());
    TRY_STATUS(sink.write(ByteView(std::string_view("part"))));
    auto result = script[std::min(asked, script.size() - 1)];
    asked++;
    return result;
  }
  std::vector<Result<HttpResponse>> script;
  size_t asked = 0;
};

std::vector<uint32_t> waits_for(ScriptedClient& inner, TextSink& sink, bool& is_good) {
  std::vector<uint32_t> waits;
  RetryPolicy policy{5, 100, 300};
  RetryingClient client(
      inner, policy,
      {[](uint32_t most) { return most; }, [&](uint32_t ms) { waits.push_back(ms); }});
  auto result = client.get({"http://host/x", 10}, sink);
  is_good = result.ok() && result->status == 200;
  return waits;
}

}  // namespace

TEST(Retry, WaitsLongerEachTimeAndStartsAnew) {
  ScriptedClient inner;
  TextSink sink;
  bool is_good = false;
  Error broken = make_error(ErrorCode::io, "x", "broke");
  inner.script = {broken, HttpResponse{503}, broken, HttpResponse{200}};
  EXPECT_THAT(waits_for(inner, sink, is_good), ElementsAre(100, 200, 300));
  EXPECT_TRUE(is_good);
  EXPECT_EQ(sink.text, "part");  // of the last try alone
  inner = {};
  inner.script = {broken};
  EXPECT_THAT(waits_for(inner, sink, is_good), ElementsAre(100, 200, 300, 300));
  EXPECT_FALSE(is_good);
}

TEST(Retry, DoesNotAskAgainWhenTheAnswerIsFinal) {
  for (Result<HttpResponse> final :
       std::vector<Result<HttpResponse>>{HttpResponse{404}, HttpResponse{403},
                                         make_error(ErrorCode::untrusted, "x", "too large")}) {
    ScriptedClient inner;
    TextSink sink;
    bool is_good = true;
    inner.script = {final};
    EXPECT_THAT(waits_for(inner, sink, is_good), ElementsAre());
    EXPECT_FALSE(is_good);
  }
}

TEST(Retry, TheRealWaitIsRandomAndBounded) {
  RetrySeam seam = RetrySeam::real();
  bool differ = false;
  for (int i = 0; i < 100; ++i) {
    uint32_t one = seam.random(1000);
    EXPECT_LE(one, 1000u);
    differ = differ || one != seam.random(1000);
  }
  EXPECT_TRUE(differ);
}

}  // namespace livecare::net
