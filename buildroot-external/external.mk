AMPGATE_TOP = $(realpath $(BR2_EXTERNAL_AMPGATE_PATH)/..)

include $(sort $(wildcard $(BR2_EXTERNAL_AMPGATE_PATH)/packages/*/*.mk))
