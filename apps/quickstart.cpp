// A first program: sums on the workers, and an actor that lives on one of them.
#include <troupe/actors.hpp>
#include <troupe/troupe.hpp>

#include <iostream>

double quarter_circle(int first, int last, int n) {
  double sum = 0;
  for (int i = first; i < last; ++i)
    sum += 4 / (1 + (i + 0.5) / n * ((i + 0.5) / n)) / n;
  return sum;
}

caf::behavior counter(caf::stateful_actor<int>* self) {
  return {[=](int n) { return self->state += n; }};
}

int main(int argc, char** argv) {
  troupe::app app{"quickstart", "A first look at troupe"};
  int n = 1000000;
  app.option("--steps", n, "steps of the sum");
  return app.run(argc, argv, [&](troupe::cluster& c) {
    auto f = c.remotecall(troupe::any, [](int a, int b) { return a + b; }, 20, 22);
    std::cout << "20 + 22 = " << f.fetch() << ", says a worker\n";

    std::vector<troupe::future<double>> parts;
    int np = c.nworkers();
    for (int i = 0; i < np; ++i)
      parts.push_back(c.remotecall<quarter_circle>(troupe::any, i * (n / np), (i + 1) * (n / np), n));
    double pi = 0;
    for (auto& part : parts)
      pi += part.fetch();
    std::cout << "pi is about " << pi << ", summed up on " << np << " workers\n";

    auto a = c.spawn<counter>(c.workers().front());
    c.everywhere([](caf::actor counter) { troupe::here().request<int>(counter, 1); }, a);
    std::cout << "an actor on process " << c.workers().front() << " has counted " << c.request<int>(a, 0) << " processes\n";
    return 0;
  });
}
