"""BVH: forward kinematics by hand, malformed files, and the recorded walks where they are."""

import numpy as np
import pytest

from reidlib.datasets.bvh import joint_positions, parse_bvh, read_bvh
from reidlib.datasets.walkers_body import JOINTS
from reidlib.datasets.walkers_gait import RecordedWalks, bvh_files, content_hash, read_walk

ARM = """HIERARCHY
ROOT hips
{
  OFFSET 1 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT elbow
  {
    OFFSET 0 2 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 0 3 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.01
0 0 0 0 0 0 0 0 0
5 0 0 90 0 0 0 0 0
0 0 0 90 0 0 0 0 90
"""


def test_forward_kinematics_by_hand():
    motion = parse_bvh(ARM)
    assert motion.names == ("hips", "elbow", "elbow.end") and motion.parents == (-1, 0, 1) and motion.frame_time == 0.01
    rest = [[1, 0, 0], [1, 2, 0], [1, 5, 0]]
    turned = [[6, 0, 0], [4, 0, 0], [1, 0, 0]]  # 90 degrees about z: what pointed up (y) points left (-x)
    bent = [[1, 0, 0], [-1, 0, 0], [-1, 0, 3]]  # and the elbow about its x: its own y goes to z
    np.testing.assert_allclose(joint_positions(motion), [rest, turned, bent], atol=1e-12)


def test_rotations_apply_in_the_order_of_the_channels():
    text = ARM.replace("0 0 0 90 0 0 0 0 90", "0 0 0 90 0 90 0 0 0")
    last = joint_positions(parse_bvh(text))[2]
    np.testing.assert_allclose(last[1], [1, 0, 2], atol=1e-12)  # Rz Rx y = Rz z = z
    swapped = text.replace("Zrotation Yrotation Xrotation\n  JOINT", "Xrotation Yrotation Zrotation\n  JOINT")
    np.testing.assert_allclose(joint_positions(parse_bvh(swapped))[2, 1], [-1, 0, 0], atol=1e-12)  # Rx Rz y = Rx (-x) = -x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("MOTION", "MOTIONS"), "no MOTION"),
        (("HIERARCHY", "TREE"), "must be HIERARCHY"),
        (("Frames: 3", "Frames: 4"), "4 frames are announced, 3 are there"),
        (("Frames: 3", "Frames: three"), "not a number"),
        (("Frame Time: 0.01", "Frame Time: 0"), "must be positive"),
        (("5 0 0 90 0 0 0 0 0", "5 0 0 90"), "frame 1 has 4 values, the hierarchy has 9"),
        (("5 0 0 90", "5 0 0 ninety"), "not a number"),
        (("5 0 0 90", "5 0 0 nan"), "frame 1"),
        (("OFFSET 0 2 0", "OFFSET 0 2"), "line 8: cannot read"),
        (("CHANNELS 3", "CHANNELS 2"), "line 9: cannot read"),
        (("    OFFSET 0 2 0\n", ""), "'elbow' has no OFFSET"),
        (("}\nMOTION", "MOTION"), "not closed"),
    ],
)
def test_malformed_files_have_one_clear_error(change, message):
    assert change[0] in ARM
    with pytest.raises(ValueError, match=f"BVH text.*{message}"):
        parse_bvh(ARM.replace(*change))


def test_missing_and_unsuitable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"walk\.bvh"):
        read_bvh(tmp_path / "walk.bvh")
    with pytest.raises(ValueError, match="no BVH file"):
        bvh_files(tmp_path)
    (tmp_path / "1_1.bvh").write_text(ARM)
    with pytest.raises(ValueError, match="no joint"):
        read_walk(tmp_path / "1_1.bvh")
    before = content_hash(tmp_path)
    (tmp_path / "1_1.bvh").write_text(ARM + "\n")
    assert content_hash(tmp_path) != before
    (tmp_path / "walk.bvh").write_text(ARM)
    with pytest.raises(ValueError, match=r"walk\.bvh is not named SUBJECT_TRIAL"):
        bvh_files(tmp_path)


@pytest.fixture(scope="module")
def walks(shared_data):
    folder = shared_data / "cmu_walks"
    if not folder.is_dir():
        pytest.skip(f"no recorded walks at {folder}")
    return RecordedWalks.read(folder)


def test_recorded_people_walk_at_walking_speed(walks):
    assert len(walks.subjects) == 13
    speeds = {walk.name: walk.speed for trials in walks.trials.values() for walk in trials}
    assert len(speeds) == 29
    turning = ("26_01", "27_01", "29_01")  # out and back: slow, as a whole
    slow_or_fast = {name: speed for name, speed in speeds.items() if not 0.6 <= speed <= 1.7 and name not in turning}
    assert not slow_or_fast and all(speeds[name] > 0.4 for name in turning)


def test_segments_are_straight_upright_and_scaled(walks):
    times = np.arange(145) / 120
    for subject in walks.subjects:
        sources = set()
        for number in range(6):
            joints, speed, source = walks.segment(subject, times, number, 6, 1.8, np.random.default_rng(0))
            sources.add(source)
            pelvis, toes = joints[:, 0], joints[:, [JOINTS.index("l_toe"), JOINTS.index("r_toe")]]
            assert joints.shape == (145, len(JOINTS), 3) and 0.5 < speed < 2.5
            assert np.ptp(pelvis[:, 2]) < 0.25 and np.isclose(np.median(joints[:, JOINTS.index("head"), 1]), 1.8)
            assert (np.diff(pelvis[:, 0]) > 0).mean() > 0.97
            assert (toes[:, :, 0].mean(1) - pelvis[:, 0]).mean() > -0.1 and -0.05 < toes[:, :, 1].min() < 0.15
            right = joints[:, JOINTS.index("r_hip"), 2] - joints[:, JOINTS.index("l_hip"), 2]
            assert right.min() > 0 and right.mean() > 0.1  # facing the way it walks, not mirrored
        assert len(sources) == 6


def test_a_segment_longer_than_the_walks_is_refused(walks):
    with pytest.raises(ValueError, match=r"no straight walk of 15 s.*shorten"):
        walks.segment(walks.subjects[0], np.linspace(0, 15, 100), 0, 6, 1.8, np.random.default_rng(0))
