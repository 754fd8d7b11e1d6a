"""The twelve laws that this toolkit keeps, and the tests that hold it to them."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

LAWS: dict[str, dict[str, tuple[str, ...]]] = {
    "1: one draw is one field, in any chunk, order and company": {
        "vnp_core/test_model.py": (
            "test_one_draw_is_one_function_in_any_chunks_and_order",
            "test_padding_and_batch_neighbours_are_invisible",
        ),
        "vnp_nerf/test_radiance.py": (
            "test_law_1_one_draw_is_one_field_in_any_chunk_and_order",
            "test_law_1_batch_neighbours_do_not_matter",
        ),
        "vnp_nerf/test_rendering.py": ("test_a_picture_is_the_same_for_every_chunk_size",),
        "vnp_nerf/face/test_tools.py": ("test_chunks_of_any_size_give_the_same_picture",),
        "vnp_nerf/test_culled_field.py": (
            "test_law_1_a_culled_field_is_the_same_in_any_chunk_and_order",
            "test_draws_in_one_batch_are_what_each_is_alone",
        ),
        "vnp_nerf/test_baked_field.py": ("test_law_1_a_baked_picture_is_the_same_in_any_chunk",),
    },
    "2: the context is a set: order is nothing, duplicates and none are legal": {
        "vnp_core/test_model.py": (
            "test_context_order_changes_nothing",
            "test_an_empty_context_is_legal_and_a_duplicated_point_too",
        ),
        "vnp_nerf/test_radiance.py": (
            "test_law_2_the_order_of_context_views_does_not_matter",
            "test_law_2_an_empty_context_gives_the_prior",
        ),
        "vnp_nerf/test_projected_features.py": (
            "test_the_order_of_views_does_not_matter_and_a_duplicate_is_legal",
        ),
    },
    "3: padding is invisible": {
        "vnp_core/test_model.py": (
            "test_padding_and_batch_neighbours_are_invisible",
            "test_padded_targets_change_no_objective",
        ),
        "vnp_core/test_encoder.py": ("test_padding_is_invisible_even_where_it_is_nan",),
        "vnp_nerf/test_radiance.py": ("test_law_3_padded_views_and_pixels_are_invisible",),
        "vnp_nerf/test_canvas.py": ("test_a_batch_of_mixed_sizes_gives_what_each_gives_alone",),
    },
    "4: KL >= 0, and 0 when equal; ELBO <= importance-weighted bound, which grows with draws": {
        "vnp_core/test_latents.py": (
            "test_kl_is_never_negative_and_0_when_equal",
            "test_prior_and_posterior_are_one_network_so_equal_tokens_have_kl_0",
        ),
        "vnp_core/test_objectives.py": (
            "test_elbo_is_below_the_importance_weighted_bound_which_is_below_the_evidence_and_grows_with_draws",
        ),
        "vnp_core/test_model.py": ("test_the_elbo_is_below_the_importance_weighted_bound",),
    },
    "5: log-likelihoods add up in float64 and match closed forms; the exact process is the ceiling": {
        "vnp_core/test_likelihoods.py": (
            "test_log_likelihoods_add_up_in_float64",
            "test_both_scores_match_a_hand_made_case",
        ),
        "vnp_core/tasks/test_exact_gp.py": (
            "test_the_prediction_is_the_textbooks",
            "test_who_knows_more_scores_higher_and_the_mixture_beats_its_gaussian_on_average",
        ),
    },
    "6: volume rendering matches closed forms, passes gradcheck, stays finite": {
        "vnp_nerf/test_rendering.py": (
            "test_a_constant_slab_absorbs_as_beer_lambert_says",
            "test_two_slabs_mix_their_colours_by_transmittance",
            "test_a_background_picture_shows_through_where_nothing_is",
            "test_compositing_passes_gradcheck",
            "test_weights_stay_finite_at_extreme_density_and_so_do_gradients",
        ),
    },
    "7: cameras round-trip between conventions; pixel centres are at +0.5": {
        "vnp_nerf/test_cameras.py": (
            "test_opengl_opencv_and_colmap_poses_round_trip",
            "test_a_cubes_corners_land_on_the_pixels_worked_out_by_hand",
            "test_rays_go_through_pixel_centres",
        ),
    },
    "8: a similarity of all cameras changes no picture; what is written is in the user's frame": {
        "vnp_nerf/test_radiance.py": (
            "test_law_8_turning_all_cameras_about_the_vertical_changes_no_picture",
        ),
        "vnp_nerf/test_frames.py": (
            "test_moving_cameras_and_object_together_changes_no_pixel",
            "test_a_similarity_survives_json_to_the_last_bit",
        ),
        "vnp_nerf/exporting/test_meshes.py": ("test_a_solid_of_the_world_comes_back_within_a_voxel",),
        "vnp_nerf/exporting/test_glb.py": ("test_a_solid_of_the_world_comes_back_within_a_voxel",),
        "vnp_nerf/exporting/test_splats.py": ("test_a_solid_of_the_world_comes_back_within_a_voxel",),
        "vnp_nerf/exporting/test_voxels.py": ("test_a_solid_of_the_world_comes_back_within_a_voxel",),
        "vnp_nerf/face/test_export_command.py": ("test_the_ball_comes_back_in_the_frame_that_was_asked_for",),
        "vnp_nerf/readers/test_transforms.py": (
            "test_a_similarity_of_a_captures_cameras_only_turns_them_about_z_in_the_models_frame",
        ),
    },
    "9: every fast path agrees with its slow twin": {
        "vnp_core/test_attention.py": (
            "test_the_formula_that_trains_on_a_cpu_agrees_with_the_kernel_that_infers",
        ),
        "vnp_core/test_modulation.py": ("test_a_modulated_block_is_what_loops_in_float64_give",),
        "vnp_nerf/test_cameras.py": ("test_rays_agree_with_an_explicit_loop",),
        "vnp_nerf/test_projection.py": ("test_projection_by_matrices_equals_its_slow_twin",),
        "vnp_nerf/test_image_metrics.py": ("test_ssim_agrees_with_its_slow_twin",),
        "vnp_nerf/test_culled_field.py": ("test_law_9_the_culled_picture_is_the_slow_twins",),
        "vnp_nerf/test_baked_field.py": ("test_law_9_leaps_and_early_stops_change_no_picture",),
        "vnp_nerf/test_axial_rendering.py": ("test_weights_equal_an_explicit_loop",),
        "vnp_nerf/test_equivalences.py": (
            "test_bfloat16_renders_the_picture_of_float32_to_50_db",
            "test_gradients_in_bfloat16_point_where_those_of_float32_do",
        ),
        "vnp_core/test_equivalences.py": ("test_bfloat16_predicts_as_float32_does",),
    },
    "10: calibration is signed, an oracle is calibrated, and its AUSE is 0; a shuffle's is the random one": {
        "vnp_core/metrics/test_calibration.py": (
            "test_an_oracle_covers_its_level_and_scaled_spreads_miss_it_on_the_right_side",
            "test_the_exact_process_is_calibrated",
            "test_auce_of_an_oracle_is_near_0_and_of_scaled_spreads_signed",
        ),
        "vnp_core/metrics/test_sparsification.py": (
            "test_the_oracles_area_is_0_in_every_definition",
            "test_a_shuffles_area_is_the_random_one_in_expectation",
            "test_ties_are_broken_without_bias_by_the_generator",
        ),
    },
    "11: the same seed gives the same bytes, and nothing global is drawn": {
        "vnp_core/test_model.py": ("test_the_same_seed_gives_the_same_bytes_and_nothing_global_is_drawn",),
        "vnp_nerf/test_radiance.py": (
            "test_law_11_the_same_seed_gives_the_same_bytes_and_another_seed_another_field",
        ),
        "vnp_nerf/test_batches.py": ("test_workers_give_the_same_bytes_in_the_same_order",),
        "vnp_nerf/test_making_writer.py": (
            "test_same_seed_gives_the_same_bytes_whatever_the_number_of_processes",
        ),
        "vnp_nerf/face/test_trainer.py": ("test_the_same_seed_trains_to_the_same_bytes",),
        "vnp_nerf/test_equivalences.py": (
            "test_the_same_field_renders_to_the_same_bytes",
            "test_the_same_seed_draws_to_the_same_bytes_and_another_one_to_others",
        ),
    },
    "12: nothing is unpickled from a file that somebody else may have made": {
        "vnp_core/test_checkpoints.py": ("test_nothing_in_the_package_unpickles",),
        "vnp_nerf/face/test_checkpoints.py": ("test_a_payload_in_a_checkpoint_does_not_run",),
        "vnp_nerf/face/test_run_file.py": ("test_what_is_no_run_of_ours_is_refused_and_not_run",),
        "faults/test_payloads.py": ("test_a_pickle_in_place_of_a_file_is_refused_and_not_run",),
    },
}


@pytest.mark.parametrize("law", LAWS)
def test_every_law_has_tests_that_run_by_default(law: str) -> None:
    assert LAWS[law]
    for file, names in LAWS[law].items():
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for name in names:
            assert name in found, f"{file} has no test {name}"
            marks = [ast.unparse(decorator) for decorator in found[name].decorator_list]
            assert not any(
                mark.startswith(("pytest.mark.slow", "pytest.mark.nightly", "pytest.mark.skip"))
                for mark in marks
            )


def test_the_laws_are_twelve() -> None:
    assert [law.split(":")[0] for law in LAWS] == [str(number) for number in range(1, 13)]
