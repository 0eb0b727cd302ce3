"""The figures in the documents' sentences are those of the experiments' scores."""

from statistics import mean

from fakes.prose import ALONE, gains_of, interval_of, words_of

from experiments.document import HEADLINE, RESULTS, scores


def test_the_gains_in_the_prose_follow_from_the_scores() -> None:
    """MDH-FL+ less the strongest local training, by federation: in the README's sentence, and in the results."""
    rows = scores(HEADLINE)

    def gain(federation: str, column: str) -> float:
        mean_of = {
            method: mean(
                float(row[column]) for row in rows if (row["federation"], row["method"]) == (federation, method)
            )
            for method in ("MDH-FL+", ALONE)
        }
        return mean_of["MDH-FL+"] - mean_of[ALONE]

    some, hardly, same = (gain(name, "macro_f1") for name in ("Dirichlet 0.5", "Dirichlet 0.1", "IID"))
    readme = words_of("README.md")
    assert f"gain {some:.0f} points of macro-F1 over the strongest training alone" in readme
    assert f"in common {hardly:.0f}, and sites with the same classes {same:.0f}," in readme
    own = [gain(name, "own_macro_f1") for name in ("Dirichlet 0.5", "Dirichlet 0.1", "IID")]
    assert f"macro-F1 {own[1]:+.0f}, {own[0]:+.0f} and {own[2]:+.0f} points" in readme, "in the order of the rows"
    page = words_of("docs/results.md")
    assert f"by {some:.1f}, {hardly:.1f} and {same:.1f} points of macro-F1 on the test images of all sites" in page
    assert f"by {own[0]:.1f}, {own[1]:.1f} and {own[2]:.1f} on the sites' own" in page


def test_what_the_readme_says_of_other_comparisons_follows_from_their_scores() -> None:
    def score(name: str, federation: str, method: str) -> float:
        rows = scores(name)
        return mean(float(r["macro_f1"]) for r in rows if (r["federation"], r["method"]) == (federation, method))

    readme = words_of("README.md")
    some, hardly = (
        score("homogeneous_models", federation, "MDH-FL+") - score("homogeneous_models", federation, "FedAvg")
        for federation in ("Dirichlet 0.5", "Dirichlet 0.1")
    )
    assert abs(some) < 1
    assert f"level with FedAvg at Dirichlet 0.5 and {hardly:.0f} points ahead at 0.1" in readme
    best = "centralised, balanced and averaged"
    pooled = [score("weight_sharing", federation, best) for federation in ("Dirichlet 0.1", "Dirichlet 0.5")]
    assert f"would reach {pooled[0]:.0f} and {pooled[1]:.0f} in the first two rows" in readme
    drawn, tiles = (
        score("public_sets", public, "MDH-FL+") for public in ("400 drawn cells", "400 of another hospital")
    )
    assert abs(drawn - tiles) < 2
    assert "400 drawn cells teach as well as 400 of another hospital" in readme


def test_the_gain_without_wrong_labels_over_the_seeds_that_chose_nothing_is_the_one_in_the_prose() -> None:
    runs = {
        (row["seed"], row["method"]): float(row["macro_f1"])
        for name in ("gain_by_noise", "refinements")
        for row in scores(name)
        if (row["federation"], row["noise"]) == ("Dirichlet 0.5", "none")
    }
    chose = "100"
    gains = [
        score - runs[seed, ALONE] for (seed, method), score in runs.items() if method == "MDH-FL+" and seed != chose
    ]
    text = f"{mean(gains):.1f} points over five seeds (95 % interval {interval_of(gains)})"
    assert len(gains) == 5
    assert text in words_of("docs/results.md")


def test_the_smallest_gain_of_a_seed_is_the_one_in_the_prose() -> None:
    runs = {(row["federation"], row["seed"], row["method"]): float(row["macro_f1"]) for row in scores(HEADLINE)}
    gains = [
        value - runs[federation, seed, ALONE]
        for (federation, seed, method), value in runs.items()
        if method == "MDH-FL+"
    ]
    assert len(gains) == 15
    assert f"the smallest gain of all fifteen is {min(gains):.1f} points" in words_of("docs/results.md")


def test_the_gains_of_many_sites_in_the_prose_follow_from_the_scores() -> None:
    page = words_of("docs/results.md")
    sites = ("10 sites", "20 sites", "50 sites")
    one, two, three = (mean(gains_of("many_sites", each, "macro_f1")) for each in sites)
    assert f"by {one:.1f}, {two:.1f} and {three:.1f} points of macro-F1 at 10, 20 and 50 sites" in page
    one, two, three = (mean(gains_of("many_sites", each, "own_macro_f1")) for each in sites)
    assert f"and by {one:.1f}, {two:.1f} and {three:.1f} on own images" in page
    every = [gain for each in sites for gain in gains_of("many_sites", each, "macro_f1")]
    assert f"({min(every):.1f} to {max(every):.1f} in single seeds" in page


def test_the_gains_with_larger_images_in_the_prose_follow_from_the_scores() -> None:
    page = words_of("docs/results.md")
    gain, own = (gains_of("larger_images", "Dirichlet 0.5", column) for column in ("macro_f1", "own_macro_f1"))
    assert f"MDH-FL+ is {mean(gain):.1f} points of macro-F1 ahead of the strongest training alone on the test" in page
    assert f"all sites, and {mean(own):.1f} on own images, in every seed" in page
    assert min(gain + own) > 0


def test_what_drawn_cells_teach_in_the_prose_follows_from_the_scores() -> None:
    page, rows, own = words_of("docs/results.md"), scores("public_sets"), "own_macro_f1"
    few, many = "400 drawn cells", "2000 drawn cells"

    def of_ours(federation: str, column: str) -> list[float]:
        return [float(r[column]) for r in rows if (r["federation"], r["method"]) == (federation, "MDH-FL+")]

    some, more, other = (gains_of("public_sets", name) for name in (few, many, "400 of another hospital"))
    said = f"({mean(some):.1f} and {mean(other):.1f} points over training alone, intervals "
    assert f"{said}{interval_of(some)} and {interval_of(other)})" in page
    assert f"teach better: {mean(more):.1f} ({interval_of(more)})" in page
    gained = [mean(gains_of("public_sets", name, own)) for name in (many, few)]
    assert f"and {gained[0]:.1f} instead of {gained[1]:.1f} on own images" in page
    ahead = [a - b for a, b in zip(of_ours(many, "macro_f1"), of_ours(few, "macro_f1"), strict=True)]
    assert min(ahead) > 0
    assert f"{mean(ahead):.1f} points more than with 400 ({interval_of(ahead)}, every seed ahead)" in page
    seconds, sent = (
        mean(of_ours(many, what)) / mean(of_ours(few, what))
        for what in ("seconds_per_site", "bytes_up_per_site_and_round")
    )
    assert f"for {seconds:.1f} times a site's seconds and {sent:.1f} times its bytes" in page
    assert f"400 drawn cells gain {mean(some):.1f} points of macro-F1, 2000 gain {mean(more):.1f}, 400" in page
    readme = (
        f"2000 gain {mean(more):.0f} points at Dirichlet 0.5 where 400 gain {mean(some):.0f}, for {seconds:.1f} times"
    )
    assert readme in words_of("README.md")


def test_what_two_repairs_bring_the_rivals_follows_from_the_scores() -> None:
    page, rivals = words_of("docs/results.md"), ("FedMD", "RHFL", "MDH-FL", "MDH-FL, CE weight 1")

    def gains(method: str, over: str) -> list[float]:
        return gains_of("rivals", "Dirichlet 0.5", method=method, over=over)

    repaired = {rival: gains(f"{rival}, repaired", rival) for rival in rivals}
    assert [rival for rival, gained in repaired.items() if min(gained) > 0] == ["FedMD", "MDH-FL"]
    brought = [mean(gained) for gained in repaired.values()]
    said = (
        "gain {:.1f} points (FedMD), {:.1f} (RHFL), {:.1f} (MDH-FL) and {:.1f} (MDH-FL, CE weight 1); RHFL and the last"
    )
    assert said.format(*brought) in page
    assert f"the rivals gain {min(brought):.1f} to {max(brought):.1f} points and stay below training alone" in page
    behind = [mean(gains(ALONE, f"{rival}, repaired")) for rival in rivals]
    assert min(behind) == behind[-1] > 0
    best = f"{rivals[-1]}, repaired"
    has = mean(float(row["macro_f1"]) for row in scores("rivals") if row["method"] == best)
    assert f"has {has:.1f}: {behind[-1]:.1f} behind the strongest" in page
    assert f"training alone and {mean(gains('MDH-FL+', best)):.1f} behind MDH-FL+" in page


def test_what_the_rivals_reach_by_noise_in_the_prose_follows_from_the_scores() -> None:
    page, rows = words_of("docs/results.md"), scores("rivals_by_noise")

    def score(noise: str, method: str, column: str = "macro_f1") -> float:
        return mean(float(row[column]) for row in rows if (row["noise"], row["method"]) == (noise, method))

    five = ("MDH-FL+", ALONE, "local CE", "FedMD", "MDH-FL")
    right, flipped = ([score(noise, method) for method in five] for noise in ("none", "pair flip 0.3"))
    said = "MDH-FL+ has {:.1f} points of macro-F1, the strongest training alone {:.1f}, plain training alone {:.1f}, "
    assert (said + "FedMD {:.1f}, MDH-FL {:.1f};").format(*right) in page
    assert "with 30 % pair flips {:.1f}, {:.1f}, {:.1f}, {:.1f} and {:.1f}. No method".format(*flipped) in page
    own = [score(n, five[0], "own_macro_f1") - score(n, five[1], "own_macro_f1") for n in ("none", "pair flip 0.3")]
    assert f"MDH-FL+ is {right[0] - right[1]:.1f} points of macro-F1 ahead of the strongest" in page
    assert f"and {own[0]:.1f} on own images; with pair flips {flipped[0] - flipped[1]:.1f} and {own[1]:.1f}" in page
    assert f"FedMD loses {right[2] - right[3]:.1f} points to plain" in page
    assert f"without wrong labels and {flipped[2] - flipped[3]:.1f} with pair flips" in page
    lost = [score(n, "local CE") - score(n, m) for n in ("none", "pair flip 0.3") for m in ("MDH-FL", "RHFL")]
    assert "lose {:.0f} and {:.0f} points without wrong labels, {:.0f} and {:.0f} with pair flips".format(*lost) in page
    own = [score("pair flip 0.3", m, "own_accuracy") for m in ("MDH-FL", "RHFL", "local CE")]
    assert "(accuracy {:.0f} and {:.0f} against {:.0f} %)".format(*own) in page
    one = [score(n, "MDH-FL, CE weight 1") for n in ("none", "pair flip 0.3")]
    assert "A CE weight of 1 brings MDH-FL to {:.1f} and {:.1f}".format(*one) in page


def test_the_hours_that_the_data_page_gives_are_those_of_the_runs() -> None:
    hours = {
        folder.name: sum(float(row["wall_seconds"]) for row in scores(folder.name)) / 3600
        for folder in RESULTS.iterdir()
    }
    page = words_of("docs/data.md")
    assert f"took {hours[HEADLINE]:.1f} hours together, those of all tables {sum(hours.values()):.0f}" in page
