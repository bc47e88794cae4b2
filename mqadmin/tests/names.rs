//! Every command of Java's mqadmin is here, absent for a reason, or on the list of those that are yet to come.

use mqadmin::COMMANDS;

/// Commands of 4.9.8.
const JAVA_4_9_8: &str = "updateTopic deleteTopic updateSubGroup deleteSubGroup updateBrokerConfig updateTopicPerm \
    topicRoute topicStatus topicClusterList brokerStatus queryMsgById queryMsgByKey queryMsgByUniqueKey queryMsgByOffset \
    queryMsgTraceById printMsg printMsgByQueue sendMsgStatus brokerConsumeStats producerConnection consumerConnection \
    consumerProgress consumerStatus cloneGroupOffset producer clusterList topicList updateKvConfig deleteKvConfig \
    wipeWritePerm addWritePerm resetOffsetByTime skipAccumulatedMessage updateOrderConf cleanExpiredCQ \
    deleteExpiredCommitLog cleanUnusedTopic startMonitoring statsAll allocateMQ checkMsgSendRT clusterRT \
    getNamesrvConfig updateNamesrvConfig getBrokerConfig getConsumerConfig queryCq sendMessage consumeMessage \
    updateAclConfig deleteAclConfig clusterAclConfigVersion updateGlobalWhiteAddr exportMetadata exportConfigs \
    exportMetrics";

/// Commands that 5.3.3 has besides.
const JAVA_5_3_3: &str = "updateTopicList updateSubGroupList setConsumeMode addBroker removeBroker \
    resetMasterFlushOffset updateStaticTopic remappingStaticTopic exportMetadataInRocksDB exportPopRecord haStatus \
    getSyncStateSet getBrokerEpoch getControllerMetaData getControllerConfig updateControllerConfig electMaster \
    cleanBrokerMetadata dumpCompactionLog getColdDataFlowCtrInfo updateColdDataFlowCtrGroupConfig \
    removeColdDataFlowCtrGroupConfig setCommitLogReadAheadMode createUser updateUser deleteUser getUser listUser \
    copyUser createAcl updateAcl deleteAcl getAcl listAcl copyAcl rocksDBConfigToJson checkRocksdbCqWriteProgress";

/// Those that are neither served nor absent on purpose so far.
const NOT_YET: &str = "";

#[test]
fn every_command_of_java_is_accounted_for() {
    assert_eq!(JAVA_4_9_8.split_whitespace().count(), 56);
    let java: Vec<&str> =
        JAVA_4_9_8.split_whitespace().chain(JAVA_5_3_3.split_whitespace()).collect();
    let here = |name: &&&str| COMMANDS.iter().any(|entry| entry.name == **name);
    let missing: Vec<&str> = java.iter().filter(|name| !here(name)).copied().collect();
    let not_yet: Vec<&str> = NOT_YET.split_whitespace().collect();
    assert_eq!(missing, not_yet, "the list of commands to come is not what is missing");
    let absent = COMMANDS.iter().filter(|entry| entry.absent().is_some()).count();
    println!(
        "{} served, {absent} absent for a reason, missing: {missing:?}",
        COMMANDS.len() - absent
    );
}

#[test]
fn a_name_means_one_command() {
    let names = COMMANDS.iter().flat_map(|entry| [Some(entry.name), entry.alias]).flatten();
    let mut names: Vec<String> = names.map(str::to_lowercase).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    for entry in COMMANDS {
        assert!(entry.absent().is_none_or(|reason| reason.len() > 20), "{}", entry.name);
    }
}
