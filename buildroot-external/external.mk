include $(sort $(wildcard $(BR2_EXTERNAL_AMPGATE_PATH)/packages/*/*.mk))
