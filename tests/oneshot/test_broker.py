from tests.oneshot.broker_calls import alive, is_waiting, numbers, result_of, results_of, round_of, rounds_of, soon


def test_all_rounds_that_wait_are_handed_out_in_order(play):
    async def scenario(broker):
        await broker.submit([round_of(2), round_of(0)], 0)
        await broker.submit([round_of(1), round_of(4)], 0)
        assert numbers(await soon(broker.take(0))) == [0, 1, 2]
        assert numbers(await soon(broker.take(2))) == [2]
        waiting = await is_waiting(broker.take(3))
        await broker.submit([round_of(3)], 0)
        assert numbers(await soon(waiting)) == [3, 4]

    play(scenario)


def test_a_round_arrives_as_it_was_sent(play):
    async def scenario(broker):
        sent = round_of(0)
        await broker.submit([sent], 0)
        assert (await soon(broker.take(0)))[0] is sent

    play(scenario)


def test_a_group_that_is_started_again_gets_the_same_rounds(play):
    async def scenario(broker):
        start = {rank: await broker.begin_attempt("a", alive()) for rank in (0, 1)}
        assert start == {0: 0, 1: 0}
        await broker.submit(rounds_of(0, 2), 0)
        first = await soon(broker.take(0))
        await broker.submit(rounds_of(2, 5), 0)
        first += await soon(broker.take(2))
        assert await broker.begin_attempt("b", alive()) == 0
        again = await soon(broker.take(0))
        assert numbers(first) == numbers(again) == [0, 1, 2, 3, 4]
        assert all(one is other for one, other in zip(first, again, strict=True))

    play(scenario)


def test_results_reach_the_trial_one_by_one(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        waiting = await is_waiting(broker.next_result(-1, 4))
        await broker.post("a", results_of(0, 1))
        assert (await soon(waiting)).round == 0
        assert (await soon(broker.next_result(0, 4))).round == 1
        waiting = await is_waiting(broker.next_result(1, 4))
        await broker.post("a", results_of(2))
        assert (await soon(waiting)).round == 2
        assert await soon(broker.next_result(3, 4)) is None

    play(scenario)


def test_results_of_a_dead_attempt_are_ignored(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(0))
        assert await broker.begin_attempt("b", alive()) == 1
        await broker.post("a", [result_of(1, train_loss=666.0)])
        waiting = await is_waiting(broker.next_result(0, 4))
        await broker.post("b", [result_of(1, train_loss=1.0)])
        assert (await soon(waiting)).train_loss == 1.0

    play(scenario)


def test_of_two_results_of_a_round_the_first_is_kept(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", [result_of(0, train_loss=1.0)])
        await broker.post("a", [result_of(0, train_loss=2.0), result_of(1, train_loss=3.0)])
        assert (await soon(broker.next_result(-1, 4))).train_loss == 1.0
        assert (await soon(broker.next_result(0, 4))).train_loss == 3.0

    play(scenario)


def test_results_of_rounds_never_sent_are_ignored(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(7))
        await is_waiting(broker.next_result(6, 8))
        assert await broker.begin_attempt("b", alive()) == 0

    play(scenario)


def test_the_start_of_an_attempt_is_frozen(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 6), 0)
        assert await broker.begin_attempt("a", alive()) == 0
        await broker.post("a", results_of(0, 1))
        assert await broker.begin_attempt("a", alive()) == 0  # a slow rank of the same group
        assert await broker.begin_attempt("b", alive()) == 2
        await broker.post("b", results_of(2))
        assert await broker.begin_attempt("b", alive()) == 2

    play(scenario)


def test_a_restarted_group_begins_with_the_first_undone_round(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 6), 0)
        await broker.begin_attempt("a", alive())
        assert numbers(await soon(broker.take(0))) == [0, 1, 2, 3, 4, 5]
        await broker.post("a", results_of(0))
        await broker.post("a", results_of(2))  # the result of round 1 got lost on its way
        start = await broker.begin_attempt("b", alive())
        assert start == 1
        assert numbers(await soon(broker.take(start))) == [1, 2, 3, 4, 5]

    play(scenario)


def test_a_late_call_of_a_dead_rank_does_not_bring_its_attempt_back(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await broker.begin_attempt("b", alive())
        await broker.begin_attempt("a", alive())
        await broker.post("b", results_of(0))
        assert await broker.begin_attempt("c", alive()) == 1

    play(scenario)


def test_a_resumed_session_begins_at_its_first_round(play):
    async def scenario(broker):
        await broker.submit(rounds_of(37, 41), 37)
        start = await broker.begin_attempt("a", alive())
        assert start == 37
        assert numbers(await soon(broker.take(start))) == [37, 38, 39, 40]
        await broker.post("a", results_of(37))
        assert (await soon(broker.next_result(31, 48))).round == 37

    play(scenario, first_round=37)


def test_acknowledged_results_are_dropped_and_not_given_again(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(0, 1, 2))
        await broker.submit([], 2)
        assert sorted(broker._results) == [2]
        assert (await soon(broker.next_result(-1, 4))).round == 2  # a trial that starts its block over
        await broker.submit([], 1)  # overtaken on its way
        assert (await soon(broker.next_result(-1, 4))).round == 2

    play(scenario)


def test_results_not_acknowledged_are_given_again(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(0, 1))
        for _ in range(2):
            assert (await soon(broker.next_result(-1, 4))).round == 0
            assert (await soon(broker.next_result(0, 4))).round == 1

    play(scenario)


def test_a_block_that_is_in_the_record_is_over(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 8), 0)
        await broker.begin_attempt("a", alive())
        waiting = await is_waiting(broker.next_result(-1, 4))
        await broker.post("a", results_of(0, 1, 2, 3, 4))
        await soon(waiting)
        await broker.submit([], 4)
        assert await soon(broker.next_result(-1, 4)) is None
        assert (await soon(broker.next_result(3, 8))).round == 4

    play(scenario)
