// The sentiment of each line of standard input, by a C++ class of a page around finch.h:  score MODEL <lines
// Built against an installed finch:  c++ -std=c++17 score.cpp $(pkg-config --cflags --libs finch) -o score
#include <finch.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct failure : std::runtime_error {
    explicit failure(const finch_error &err) : std::runtime_error(err.message), status(err.status) {}
    finch_status status;
};

struct prediction {
    std::string label;
    double sentiment;
};

class classifier {
  public:
    explicit classifier(const std::string &folder)
    {
        finch_error err{};
        finch_model *opened = nullptr;
        if (finch_model_open(folder.c_str(), FINCH_COMPUTE_AUTO, &opened, &err) != FINCH_OK) throw failure(err);
        model_.reset(opened);
    }

    std::vector<prediction> score(const std::vector<std::string> &texts) const
    {
        const std::size_t n_classes = finch_model_n_classes(model_.get());
        std::vector<finch_text> borrowed;
        for (const std::string &text : texts) borrowed.push_back({text.data(), text.size()});
        std::vector<float> probabilities(texts.size() * n_classes);
        std::vector<double> sentiments(texts.size());
        finch_error err{};
        if (finch_score(model_.get(), borrowed.data(), borrowed.size(), nullptr, probabilities.data(), sentiments.data(),
                        &err) != FINCH_OK)
            throw failure(err);
        std::vector<prediction> out;
        for (std::size_t i = 0; i < texts.size(); i++) {
            const float *row = probabilities.data() + i * n_classes;
            const auto best = static_cast<std::size_t>(std::max_element(row, row + n_classes) - row);
            out.push_back({finch_model_label(model_.get(), best), sentiments[i]});
        }
        return out;
    }

  private:
    struct closer {
        void operator()(finch_model *model) const { finch_model_close(model); }
    };
    std::unique_ptr<finch_model, closer> model_;
};

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s MODEL <lines\n", argv[0]);
        return finch_status_exit_code(FINCH_E_USAGE);
    }
    try {
        std::vector<std::string> texts;
        for (std::string line; std::getline(std::cin, line);) texts.push_back(line);
        const std::vector<prediction> found = classifier(argv[1]).score(texts);
        for (std::size_t i = 0; i < found.size(); i++)
            std::printf("%s\t%+.4f\t%s\n", found[i].label.c_str(), found[i].sentiment, texts[i].c_str());
        return 0;
    } catch (const failure &e) {
        std::fprintf(stderr, "%s: %s: %s\n", argv[0], finch_status_text(e.status), e.what());
        return finch_status_exit_code(e.status);
    }
}
